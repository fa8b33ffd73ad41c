/** Entry point of the language server under Node: stdio or the channel of a forking client. */
import { startLanguageServer } from 'langium/lsp';
import { NodeFileSystem } from 'langium/node';
import { createConnection, ProposedFeatures } from 'vscode-languageserver/node';
import { registerRequests } from './requests.js';
import { createServices } from './striped-module.js';

const connection = createConnection(ProposedFeatures.all);
const { shared, striped } = createServices({ connection, ...NodeFileSystem });
registerRequests(connection, striped);
startLanguageServer(shared);
