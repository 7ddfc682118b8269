/** The condition of a Sigma detection as an expression. Pure. Bound: MAX_TOKENS. */

export type Expression =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'not'; readonly of: Expression }
  | { readonly kind: 'and' | 'or'; readonly of: readonly Expression[] };

const MAX_TOKENS = 256;
const TOKEN = /\s*(\(|\)|[^\s()]+)/gy;

/** Parses `selection and not 1 of filter_*`. A text instead of an expression says why it cannot be read. */
export function parseCondition(text: string, names: readonly string[]): Expression | string {
  const tokens = [...text.trim().matchAll(TOKEN)].map(([, token]) => token as string);
  if (tokens.length === 0 || tokens.length > MAX_TOKENS) return `has no words, or more than ${MAX_TOKENS}`;
  let at = 0;
  const next = () => tokens[at]?.toLowerCase();
  const problem = (what: string): never => {
    throw new SyntaxError(what);
  };
  const matching = (pattern: string): Expression[] => {
    const start = pattern.endsWith('*') ? pattern.slice(0, -1) : null;
    const found = names.filter((name) => (start === null ? name === pattern : name.startsWith(start)));
    const all = pattern.toLowerCase() === 'them' ? names.filter((name) => !name.startsWith('_')) : found;
    if (all.length === 0) problem(`names "${pattern}", which the detection does not have`);
    return all.map((name) => ({ kind: 'name', name }));
  };
  const primary = (): Expression => {
    const token = tokens[at] ?? problem('ends early');
    at += 1;
    const word = token.toLowerCase();
    if (token === '(') {
      const inner = either();
      if (tokens[at] !== ')') problem('has a "(" without a ")"');
      at += 1;
      return inner;
    }
    if (word === 'not') return { kind: 'not', of: primary() };
    if (next() === 'of' && /^(1|any|all)$/.test(word)) {
      const pattern = tokens[at + 1] ?? problem('ends early');
      at += 2;
      const of = matching(pattern);
      return of.length === 1 ? (of[0] as Expression) : { kind: word === 'all' ? 'and' : 'or', of };
    }
    if (/^(and|or|of|\))$/.test(word) || token.includes('|')) problem(`cannot have "${token}" there`);
    return names.includes(token)
      ? { kind: 'name', name: token }
      : problem(`names "${token}", which the detection does not have`);
  };
  const chain = (word: 'and' | 'or', operand: () => Expression) => (): Expression => {
    const of = [operand()];
    while (next() === word) {
      at += 1;
      of.push(operand());
    }
    return of.length === 1 ? (of[0] as Expression) : { kind: word, of };
  };
  const both = chain('and', primary);
  const either = chain('or', both);
  try {
    const whole = either();
    return at < tokens.length ? `cannot have "${tokens[at]}" there` : whole;
  } catch (error) {
    if (error instanceof SyntaxError) return error.message;
    throw error;
  }
}
