import type { TokenType, TokenVocabulary } from 'chevrotain';
import { DefaultTokenBuilder } from 'langium';

/** Tries `BEFORE_BRACE` before the keywords, which Langium puts first. */
export class StripedTokenBuilder extends DefaultTokenBuilder {
  override buildTokens(...parameters: Parameters<DefaultTokenBuilder['buildTokens']>): TokenVocabulary {
    const tokens = super.buildTokens(...parameters) as TokenType[];
    const first = tokens.filter(({ name }) => name === 'BEFORE_BRACE');
    return [...first, ...tokens.filter((token) => !first.includes(token))];
  }
}
