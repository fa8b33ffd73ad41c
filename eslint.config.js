import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import tseslint from 'typescript-eslint';
import stripedPlugin from './scripts/support/eslint-walls.mjs';

const root = dirname(fileURLToPath(import.meta.url));

/** design.md: webview -> (message types) <- extension -> language. */
const WALLS = [
  { target: 'language', from: 'extension', message: 'the language knows no front end' },
  { target: 'language', from: 'webview', message: 'the language knows no front end' },
  {
    target: 'webview',
    from: 'extension',
    except: ['extension/runs/run-directory.ts'],
    message: 'webviews share message types with the extension, nothing else',
  },
  { target: 'extension', from: 'extension/main.ts', message: 'it wires, and nothing imports it' },
  { target: 'extension/runs', from: 'extension/views', message: 'runs know no editor' },
  { target: 'extension/runs', from: 'extension/cli', message: 'runs know no command line' },
  { target: 'extension/cli', from: 'extension/views', message: 'the command line knows no editor' },
];

const NO_VSCODE = {
  name: 'vscode',
  message: 'Only extension/main.ts and extension/views may use the editor.',
};

/** Archived upstream: whatever takes its place goes into one module. */
const NO_TOOLKIT = {
  name: '@vscode/webview-ui-toolkit',
  message: 'Only webview/common/controls.ts makes controls.',
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
    plugins: { striped: stripedPlugin },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: root } },
    rules: {
      'striped/walls': ['error', { root, walls: WALLS }],
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
    ignores: ['webview/common/controls.ts'],
    rules: { 'no-restricted-imports': ['error', { paths: [NO_VSCODE, NO_TOOLKIT] }] },
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
