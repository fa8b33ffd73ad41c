import { AstUtils, type LangiumDocument } from 'langium';
import { isArgument, isSetting, isText, type Text } from '../generated/ast.js';
import { treeOf } from './tree.js';

/** The argument of `data` that is a path too. */
const TOKENIZER = 'tokenizer';

export interface PathText {
  node: Text;
  names: 'data' | 'tokenizer';
}

/** The texts of a document that are paths or patterns of data and tokenizers, relative to its folder. */
export function pathTexts(document: LangiumDocument): PathText[] {
  return treeOf(document.parseResult.value).nodes.flatMap((node): PathText[] => {
    if (!isText(node) || AstUtils.getContainerOfType(node, isSetting)?.key !== 'data') return [];
    const key = AstUtils.getContainerOfType(node, isArgument)?.key;
    if (key !== undefined && key !== TOKENIZER) return [];
    return [{ node, names: key ?? 'data' }];
  });
}
