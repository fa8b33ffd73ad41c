// An ESLint rule: walls between folders of the repository. Each wall forbids modules under `target` to import
// modules under `from` (paths relative to the repository), apart from the files in `except`.
import { dirname, relative, resolve, sep } from 'node:path';

const isUnder = (path, folder) => path === folder || path.startsWith(`${folder}/`);

/** The repository path an import points at, with the source's extension; null for packages. */
function target(root, importer, source) {
  if (!source.startsWith('.')) return null;
  const path = relative(root, resolve(dirname(importer), source));
  return path.split(sep).join('/').replace(/\.js$/, '.ts');
}

function create(context) {
  const [{ root, walls }] = context.options;
  const importer = relative(root, context.filename).split(sep).join('/');
  const applying = walls.filter((wall) => isUnder(importer, wall.target) && importer !== wall.from);
  const check = ({ source }) => {
    if (typeof source?.value !== 'string') return;
    const imported = target(root, context.filename, source.value);
    if (imported === null) return;
    const broken = applying.find(
      ({ from, except = [] }) => isUnder(imported, from) && !except.includes(imported),
    );
    if (broken)
      context.report({ node: source, message: `${importer} must not import ${imported}: ${broken.message}` });
  };
  return {
    ImportDeclaration: check,
    ExportNamedDeclaration: check,
    ExportAllDeclaration: check,
    ImportExpression: check,
  };
}

export default { rules: { walls: { meta: { type: 'problem', schema: [{ type: 'object' }] }, create } } };
