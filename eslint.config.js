import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

const root = dirname(fileURLToPath(import.meta.url));

/** `folder` must not import from `from`, apart from the files in `except` (relative to `from`). */
const wall = (folder, from, message, except = []) => ({
  target: `./${folder}`,
  from: `./${from}`,
  except: except.map((file) => `./${file}`),
  message,
});

/** design.md: webview -> (message types) <- extension -> language. */
const WALLS = [
  wall('language', 'extension', 'the language knows no front end'),
  wall('language', 'webview', 'the language knows no front end'),
  wall('webview', 'extension', 'webviews share message types with the extension, nothing else', [
    'runs/run-directory.ts',
  ]),
  wall('extension', 'extension/main.ts', 'main.ts wires and is imported by nothing'),
  wall('extension/runs', 'extension/views', 'launching and watching runs knows no editor'),
  wall('extension/runs', 'extension/cli', 'launching and watching runs knows no command line'),
  wall('extension/cli', 'extension/views', 'the command line knows no editor'),
];

const NO_VSCODE = {
  name: 'vscode',
  message: 'Only extension/main.ts and extension/views may use the editor.',
};

export default tseslint.config(
  {
    ignores: [
      '**/node_modules/',
      'dist/',
      'build/',
      'language/generated/',
      'native/**/build/',
      '**/.vscode-test/',
      'runs/',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: root } },
    settings: {
      'import-x/resolver-next': [
        importX.createNodeResolver({
          extensions: ['.ts', '.js', '.json'],
          extensionAlias: { '.js': ['.ts', '.js'] },
        }),
      ],
    },
    rules: {
      'import-x/no-restricted-paths': ['error', { zones: WALLS, basePath: root }],
      'import-x/no-cycle': ['error', { maxDepth: 6 }],
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'prefer-const': 'error',
      'no-console': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // Interfaces may be asynchronous where an implementation is not.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['language/**/*.ts', 'webview/**/*.ts', 'extension/runs/**/*.ts', 'extension/cli/**/*.ts'],
    rules: { 'no-restricted-imports': ['error', { paths: [NO_VSCODE] }] },
  },
  {
    files: ['language/{layout,validation,estimate,plan,interop}/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { paths: [NO_VSCODE], patterns: [{ group: ['node:*'], message: 'The core runs in browsers too.' }] },
      ],
    },
  },
  {
    // Suites nest, and assertions on optional values may say what they expect with `!`.
    files: ['test/**/*.ts'],
    rules: {
      'max-lines': ['error', { max: 700, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': 'off',
      'no-console': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-floating-promises': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  { files: ['**/*.{js,mjs,cjs}'], rules: { 'prefer-const': 'error', eqeqeq: 'error' } },
);
