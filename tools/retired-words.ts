/**
 * Words and names that were replaced by field terms, for the check in tidy.test.ts. Words match in
 * comments, texts and parts of identifiers; names match as kebab-case, camelCase, PascalCase and
 * snake_case. Pure.
 */

const WORDS: readonly string[] = ['told', 'tells', 'nobody', 'somebody', 'whoever', 'anew', 'owed'];
const PHRASES: readonly string[] = ['had its say', 'was said'];

/** Retired names; their replacements are in comments. */
const NAMES: readonly string[] = [
  'breach-tally', // violation-metrics
  'count-book', // counter-ledger
  'counter-origin', // counter-identity
  'first-meta', // initial-meta
  'frame-teller', // status-reporter
  'held-up', // stall-detector
  'instance-teller', // instance-reporter
  'jetstream-off', // jetstream-health
  'load-beside', // loader-process
  'policy-book', // policy-history
  'quiet-log', // rate-limited log
  'row-pool', // typed-row-pool
  'rule-book', // rule-history
  'run-watch', // stall-detector
  'starting-point', // replay-start
  'status-teller', // status-reporter
  'stream-proof', // stream-watermark
  'taint-keeper', // taint controller
  'told-frame', // pre-encoded-frame
  'until-taken', // retry-publish
];

/** Names that would be ordinary words in lower case, so only types are checked. */
const TYPES: readonly string[] = ['Lull', 'Teller', 'Keeper', 'Parking', 'Precedents', 'Whereabouts'];

/** Real names: the Unix user without privileges, and files of the collector's state directory. */
const ALLOWED = /\b(user|users|as|uid of) (the user )?nobody\b|'nobody'|"nobody"|\bowed-(?=[<$\\\d'])/g;

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

function spellings(name: string): string[] {
  const [first = '', ...rest] = name.split('-');
  const tail = rest.map(capital).join('');
  return [name, [first, ...rest].join('_'), first + tail, capital(first) + tail];
}

const sentence = WORDS.map((word) => `[${word[0]}${word[0]?.toUpperCase()}]${word.slice(1)}`).join('|');
const RETIRED = [
  // As a word, and as the first part of an identifier.
  `(?<![A-Za-z])(?:${sentence})(?![a-z])`,
  // As a later part of an identifier.
  `(?<=[a-z0-9])(?:${WORDS.map(capital).join('|')})(?![a-z])`,
  PHRASES.join('|'),
  `(?<![\\w-])(?:${NAMES.flatMap(spellings).join('|')})(?![a-z])`,
  `\\b(?:${TYPES.join('|')})\\b`,
].join('|');

const PATTERN = new RegExp(RETIRED, 'g');
/** Finds the few lines that need the slower pattern. */
const CANDIDATE = new RegExp([...WORDS, ...PHRASES, ...NAMES.flatMap(spellings), ...TYPES].join('|'), 'i');

/** Retired words in a file's text, with their lines. The file of this check itself has none. */
export function retiredIn(file: string, text: string): { line: number; word: string }[] {
  if (file === 'tools/retired-words.ts' || file === 'tools/tidy.test.ts' || !CANDIDATE.test(text)) return [];
  return text.split('\n').flatMap((content, index) => {
    if (!CANDIDATE.test(content)) return [];
    return [...content.replaceAll(ALLOWED, '').matchAll(PATTERN)].map(([word]) => ({ line: index + 1, word }));
  });
}

/** True if a path contains a retired name. */
export const retiredName = (file: string): boolean => file.split('/').some((part) => FILE_NAME.test(part));
const FILE_NAME = new RegExp(`^(?:${NAMES.join('|')})(?![a-z])`);
