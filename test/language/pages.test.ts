/** The pages of the documentation hold what they say: every code explained, every example as described. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { EmptyFileSystem, URI, type LangiumDocument } from 'langium';
import { NodeFileSystem } from 'langium/node';
import { describe, it } from 'mocha';
import { FINDING_CODES } from '../../language/layout/finding.js';
import type { DataFiles } from '../../language/server/data-files.js';
import { messageOf } from '../../language/server/messages.js';
import { createServices } from '../../language/server/striped-module.js';

const ROOT = new URL('../../', import.meta.url);
const page = (name: string) => readFileSync(new URL(`docs/${name}`, ROOT), 'utf8');

function fences(markdown: string): string[] {
  return [...markdown.matchAll(/^```striped\n([^]*?)^```/gm)].map((match) => match[1]!);
}

/** A folder with nothing but tokenizers of 512 tokens in it. */
const NO_DATA: DataFiles = {
  some: () => Promise.resolve(false),
  first: () => Promise.resolve(undefined),
  list: () => Promise.resolve([]),
  vocabulary: () => Promise.resolve({ size: 512, names: new Set(['<end>']), added: ['<end>'] }),
};

/** Checks a text where no data lies. */
async function found(text: string): Promise<LangiumDocument> {
  const { shared } = createServices({ ...EmptyFileSystem, dataFiles: NO_DATA });
  const { LangiumDocumentFactory, LangiumDocuments, DocumentBuilder } = shared.workspace;
  const document = LangiumDocumentFactory.fromString(text, URI.parse('file:///pages/example.striped'));
  LangiumDocuments.addDocument(document);
  await DocumentBuilder.build([document], { validation: true });
  return document;
}

async function codesOf(text: string): Promise<string[]> {
  return ((await found(text)).diagnostics ?? []).map(({ code }) => String(code));
}

describe('page of diagnostics', () => {
  const sections = new Map(
    page('diagnostics.md')
      .split(/^### /m)
      .slice(1)
      .map((section) => {
        const [code, ...text] = section.split('\n');
        return [`striped/${code}`, text.join('\n')] as const;
      }),
  );
  // Of the programs that open files, not of the language.
  const others = ['striped/file'];

  it('explains every code, and no other', () => {
    assert.deepEqual([...sections.keys()].sort(), [...FINDING_CODES, ...others].sort());
  });

  it('every code is given by something', () => {
    const source = readdirSync(new URL('language/', ROOT), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !/generated|finding\.ts/.test(name))
      .map((name) => readFileSync(new URL(`language/${name}`, ROOT), 'utf8'))
      .join('\n');
    for (const code of FINDING_CODES) assert.ok(source.includes(`'${code}'`), code);
  });

  for (const [code, section] of sections) {
    if (others.includes(code)) continue;
    const [fault, mended] = fences(section);
    it(`${code}: the example has it, mended not, and links to the page`, async () => {
      assert.ok(fault, 'no example');
      const document = await found(fault);
      const all = (document.diagnostics ?? []).map((one) => `${one.code}: ${messageOf(one)}`);
      const diagnostic = document.diagnostics?.find((one) => one.code === code);
      assert.ok(diagnostic, `found only ${all.join('\n')}`);
      assert.equal(diagnostic.codeDescription?.href.split('#')[1], code.replace('striped/', ''));
      if (mended === undefined) return;
      // Data that are not there, and advice, are another matter than what is shown.
      const apart = ['striped/data-not-found', 'striped/advice'].filter((other) => other !== code);
      const left = (await codesOf(mended)).filter((other) => !apart.includes(other));
      assert.deepEqual(left, []);
    });
  }
});

describe('page of the language', () => {
  const examples = fences(page('language.md'));
  it('has examples', () => assert.ok(examples.length >= 8));
  examples.forEach((text, index) => {
    it(`example ${index + 1} is free of errors and warnings`, async () => {
      const { shared } = createServices(NodeFileSystem);
      const { LangiumDocumentFactory, LangiumDocuments, DocumentBuilder } = shared.workspace;
      const uri = URI.parse(new URL(`docs/example-${index}.striped`, ROOT).href);
      const document = LangiumDocumentFactory.fromString(text, uri);
      LangiumDocuments.addDocument(document);
      await DocumentBuilder.build([document], { validation: true });
      const serious = (document.diagnostics ?? []).filter(({ severity }) => severity! <= 2);
      assert.deepEqual(serious.map(messageOf), []);
    });
  });
});
