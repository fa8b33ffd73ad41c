/** Entry point of the language server under Node: stdio or the channel of a forking client. */
import { startLanguageServer } from 'langium/lsp';
import { NodeFileSystem } from 'langium/node';
import { createConnection, ProposedFeatures } from 'vscode-languageserver/node';
import { ClientFiles, DiskAndClientFiles } from './client-files.js';
import { ListedDataFiles } from './data-files.js';
import { useOwnHardware } from './hardware-files.js';
import { registerRequests } from './requests.js';
import { createServices } from './striped-module.js';

const connection = createConnection(ProposedFeatures.all);
const files = new DiskAndClientFiles(NodeFileSystem.fileSystemProvider(), new ClientFiles(connection));
const { shared, striped } = createServices({
  connection,
  fileSystemProvider: () => files,
  dataFiles: new ListedDataFiles(NodeFileSystem.fileSystemProvider()),
});
registerRequests(connection, striped);
void useOwnHardware().then((problems) => {
  startLanguageServer(shared);
  for (const problem of problems) connection.console.warn(problem);
});
