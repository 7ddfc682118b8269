/**
 * Line differences of configuration values. Pure. Values are compared as JSON with sorted keys, so
 * key order does not matter. Bounds: above MAX_PAIRS compared lines, the whole text is shown as
 * removed and added.
 */

export interface DiffLine {
  sign: ' ' | '-' | '+';
  text: string;
}

/** 2,000 changed lines against 2,000 take about 30 ms. */
const MAX_PAIRS = 4_000_000;
/** Unchanged lines around a change. */
const CONTEXT = 3;

/**
 * JSON for comparison and display: two spaces, sorted keys, without `revision`, which every write
 * changes.
 */
export function comparable(value: unknown): string[] {
  if (value === undefined) return [];
  return JSON.stringify(sorted(value, true), null, 2).split('\n');
}

function sorted(value: unknown, top = false): unknown {
  if (Array.isArray(value)) return value.map((item) => sorted(item));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => !(top && key === 'revision'));
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, sorted(item)]));
}

/** All lines of both texts: kept, removed, or added. */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail += 1;
  }
  const kept = (lines: readonly string[]): DiffLine[] => lines.map((text) => ({ sign: ' ', text }));
  return [
    ...kept(before.slice(0, head)),
    ...changed(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...kept(before.slice(before.length - tail)),
  ];
}

/** Longest common subsequence by dynamic programming. */
function changed(before: readonly string[], after: readonly string[]): DiffLine[] {
  const removed = (text: string): DiffLine => ({ sign: '-', text });
  const added = (text: string): DiffLine => ({ sign: '+', text });
  const width = after.length + 1;
  if (before.length * after.length > MAX_PAIRS) return [...before.map(removed), ...after.map(added)];
  const common = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      const below = common[(i + 1) * width + j] as number;
      const right = common[i * width + j + 1] as number;
      common[i * width + j] =
        before[i] === after[j] ? (common[(i + 1) * width + j + 1] as number) + 1 : Math.max(below, right);
    }
  }
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length && j < after.length) {
    if (before[i] === after[j]) {
      lines.push({ sign: ' ', text: before[i] as string });
      i += 1;
      j += 1;
    } else if ((common[(i + 1) * width + j] as number) >= (common[i * width + j + 1] as number)) {
      lines.push(removed(before[i++] as string));
    } else {
      lines.push(added(after[j++] as string));
    }
  }
  return [...lines, ...before.slice(i).map(removed), ...after.slice(j).map(added)];
}

/** Changed lines with context; null marks omitted lines. Empty without changes. */
export function hunks(lines: readonly DiffLine[], context = CONTEXT): (DiffLine | null)[] {
  const near = new Array<boolean>(lines.length).fill(false);
  lines.forEach(({ sign }, index) => {
    if (sign === ' ') return;
    near.fill(true, Math.max(0, index - context), Math.min(lines.length, index + context + 1));
  });
  const result: (DiffLine | null)[] = [];
  lines.forEach((line, index) => {
    if (near[index]) result.push(line);
    else if (index > 0 && near[index - 1]) result.push(null);
  });
  if (near.some(Boolean) && !near[0]) result.unshift(null);
  return result;
}

/** The hunks between two values; `undefined` = no value. */
export function diffValues(
  before: unknown,
  after: unknown,
  linesOf: (value: unknown) => string[] = comparable,
): (DiffLine | null)[] {
  return hunks(diffLines(linesOf(before), linesOf(after)));
}
