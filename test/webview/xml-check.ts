/**
 * A strict reader of the XML that we write: elements, quoted attributes, the predefined and numeric entities.
 * Throws at the first thing that is not well-formed; returns the elements in order.
 */
export interface XmlElement {
  name: string;
  attributes: Record<string, string>;
  depth: number;
}

const TOKEN = /<\/([\w:-]+)>|<([\w:-]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|([^<]+)/y;
const ENTITY = /&(?!(?:lt|gt|amp|quot|apos|#\d+|#x[\da-f]+);)/i;

export function readXml(xml: string): XmlElement[] {
  const open: string[] = [];
  const elements: XmlElement[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < xml.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(xml);
    if (!match) throw new Error(`not well-formed at ${at}: ${xml.slice(at, at + 60)}`);
    const [token, closed, opened, attributes = '', selfClosed] = match;
    if (ENTITY.test(token)) throw new Error(`bare & at ${at}: ${token}`);
    if (closed !== undefined && open.pop() !== closed) throw new Error(`unexpected </${closed}> at ${at}`);
    if (opened === undefined) continue;
    if (elements.length > 0 && open.length === 0) throw new Error(`second root <${opened}>`);
    elements.push({ name: opened, attributes: readAttributes(attributes), depth: open.length });
    if (!selfClosed) open.push(opened);
  }
  if (open.length > 0) throw new Error(`<${open.at(-1)}> is not closed`);
  return elements;
}

function readAttributes(text: string): Record<string, string> {
  const pairs = [...text.matchAll(/([\w:-]+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]);
  if (new Set(pairs.map(([name]) => name)).size < pairs.length) throw new Error(`attribute twice in ${text}`);
  return Object.fromEntries(pairs) as Record<string, string>;
}
