/** Entry point of the language server in a browser: a web worker that talks to the page, which has the files. */
import { startLanguageServer } from 'langium/lsp';
import {
  BrowserMessageReader,
  BrowserMessageWriter,
  createConnection,
  ProposedFeatures,
} from 'vscode-languageserver/browser';
import { ClientFiles } from './client-files.js';
import { registerRequests } from './requests.js';
import { createServices } from './striped-module.js';

// The types are those of a page; a worker's global scope posts and receives as a worker does.
const worker = globalThis as unknown as Worker;
const connection = createConnection(
  ProposedFeatures.all,
  new BrowserMessageReader(worker),
  new BrowserMessageWriter(worker),
);
const { shared, striped } = createServices({
  connection,
  fileSystemProvider: () => new ClientFiles(connection),
});
registerRequests(connection, striped);
startLanguageServer(shared);
