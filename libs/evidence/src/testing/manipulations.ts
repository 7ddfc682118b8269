/**
 * Manipulations of a bundle for tests: a forgery of each kind, and the checks of which one must fail. A
 * forger changes lines of the file, and may sign again with a key that is not the exporter's or the log's.
 */
import type { Header } from '../format/bundle.ts';
import { type EvidenceRecord, formatRecord, parseRecord } from '../format/record.ts';
import { parseProof } from '../log/checkpoint.ts';
import { type Incident, incident, keyOf, linesOf, logged, type MemoryLog } from '../testing.ts';
import type { CheckName } from '../verify/report.ts';

export interface Forgery {
  lines: string[];
  /** One of them fails. */
  found: readonly CheckName[];
}

type Bundle = Incident & { log: MemoryLog; lines: readonly string[] };
/** A number below `most`, by the seed of the case. */
type Pick = (most: number) => number;

const STRUCTURE = ['format', 'records', 'digest'] as const;
const isProven = (record: EvidenceRecord) => record.proof !== undefined;
const edit = (bundle: Bundle, index: number, change: (record: EvidenceRecord) => EvidenceRecord): string[] =>
  bundle.lines.map((line, at) => (at === index ? formatRecord(change(parseRecord(line))) : line));
/** Index of a record's line. */
const recordAt = (bundle: Bundle, pick: Pick, of: (record: EvidenceRecord) => boolean = () => true): number => {
  const indexes = bundle.records.flatMap((record, index) => (of(record) ? [index + 1] : []));
  return indexes[pick(indexes.length)] as number;
};
const flipBit = (text: string, bit: number): string => {
  const bytes = Buffer.from(text, 'base64');
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes.toString('base64');
};
/** A bundle that a forger signs with another key. */
const signedAgain = ({ log, ...bundle }: Bundle, part: Partial<Incident>) =>
  linesOf({ ...bundle, ...part }, log.stated(), keyOf(66).privateKey);

const KINDS: Readonly<Record<string, (bundle: Bundle, pick: Pick) => Forgery>> = {
  'flip a bit of the file': (bundle, pick) => {
    const lines = [...bundle.lines];
    const at = pick(lines.length);
    const bytes = Buffer.from(lines[at] as string);
    const byte = pick(bytes.length);
    bytes[byte] = (bytes[byte] as number) ^ (1 << pick(7));
    lines.splice(at, 1, ...bytes.toString('utf8').split('\n'));
    return { lines, found: [...STRUCTURE, 'content', 'signature', 'log-head', 'inclusion', 'verdict', 'judged'] };
  },
  'flip a bit of a message': (bundle, pick) => {
    const index = recordAt(bundle, pick, ({ parts }) => parts.length > 0);
    const lines = edit(bundle, index, (record) => {
      const at = pick(record.parts.length);
      const parts = record.parts.map((part, number) => {
        if (number !== at) return part;
        const data = typeof part === 'string' ? part : 'data' in part ? part.data : '';
        const flipped = flipBit(data, pick(Buffer.from(data, 'base64').length * 8));
        return typeof part === 'string' ? flipped : { ...part, data: flipped };
      });
      return { ...record, parts } as EvidenceRecord;
    });
    return { lines, found: ['content'] };
  },
  'change a time': (bundle, pick) => ({
    lines: edit(bundle, recordAt(bundle, pick), (record) => ({ ...record, storedAt: record.storedAt + 1 + pick(1e6) })),
    found: ['digest', 'records'],
  }),
  'change the header': (bundle, pick) => {
    const header = JSON.parse(bundle.lines[0] as string) as Header;
    const fields: Partial<Header>[] = [{ from: header.from - 1 }, { until: header.until + 1 }, { nodes: null }];
    const more: Partial<Header>[] = [
      { exporter: 'nobody' },
      { lettersSince: 1 },
      { exportedAt: header.exportedAt + 1 },
    ];
    const changed = { ...header, ...[...fields, ...more][pick(6)] };
    return { lines: [JSON.stringify(changed), ...bundle.lines.slice(1)], found: ['digest'] };
  },
  'drop a record': (bundle, pick) => {
    const at = recordAt(bundle, pick);
    return { lines: bundle.lines.filter((_, index) => index !== at), found: ['records'] };
  },
  'insert a record': (bundle, pick) => {
    const at = recordAt(bundle, pick, isProven);
    const record = parseRecord(bundle.lines[at] as string);
    const added = formatRecord({ ...record, sequence: record.sequence + 1_000 });
    return { lines: bundle.lines.toSpliced(at + 1, 0, added), found: ['records'] };
  },
  'repeat a record': (bundle, pick) => {
    const at = recordAt(bundle, pick);
    return { lines: bundle.lines.toSpliced(at, 0, bundle.lines[at] as string), found: ['records'] };
  },
  'reorder records': (bundle, pick) => {
    const at = recordAt(bundle, pick, ({ stream }) => stream === 'VIOLATIONS');
    const lines = [...bundle.lines];
    const other = at === lines.length - 2 ? at - 1 : at + 1;
    [lines[at], lines[other]] = [lines[other] as string, lines[at] as string];
    return { lines, found: ['records'] };
  },
  'cut the newest lines': (bundle, pick) => ({
    lines: bundle.lines.slice(0, bundle.lines.length - 1 - pick(bundle.lines.length - 1)),
    found: ['format'],
  }),
  'cut the newest records': (bundle, pick) => {
    const count = 1 + pick(Math.min(4, bundle.records.length - 1));
    return { lines: [...bundle.lines.slice(0, -1 - count), bundle.lines.at(-1) as string], found: ['records'] };
  },
  'cut, and signed again': (bundle, pick) => {
    const records = bundle.records.slice(0, bundle.records.length - 1 - pick(2));
    return { lines: signedAgain(bundle, { records }), found: ['signature'] };
  },
  'the signature removed': (bundle, pick) => {
    const header = { ...bundle.header, exportedAt: bundle.header.exportedAt + 1 + pick(1e6) };
    return { lines: linesOf({ ...bundle, header }, bundle.log.stated(), null), found: ['signature'] };
  },
  'log and signature removed': (bundle) => {
    const records = bundle.records.map((record) => ({ ...record, proof: undefined }));
    return { lines: linesOf({ ...bundle, records }, null, null), found: ['log-head', 'signature'] };
  },
  'another key': (bundle) => ({ lines: signedAgain(bundle, {}), found: ['signature'] }),
  'another verdict id': (bundle, pick) => {
    const header = { ...bundle.header, verdictId: incident(9_000 + pick(50)).verdict.verdictId };
    return { lines: signedAgain(bundle, { header }), found: ['verdict'] };
  },
  'another fold': (bundle) => {
    const header = { ...bundle.header, fold: bundle.header.fold + 1 };
    return { lines: [JSON.stringify(header), ...bundle.lines.slice(1)], found: ['digest'] };
  },
  'a statement of another bundle': (bundle, pick) => {
    const other = logged(incident(8_000 + pick(50)));
    const statement = linesOf(other, other.log.stated()).at(-1) as string;
    return { lines: [...bundle.lines.slice(0, -1), statement], found: ['digest'] };
  },
  'a log of another key': (bundle) => {
    const key = keyOf(67).privateKey;
    const records = bundle.records.map((record) =>
      record.proof === undefined
        ? record
        : { ...record, proof: bundle.log.proof(parseProof(record.proof).index, bundle.log.size, key) },
    );
    return { lines: replaced(bundle, records), found: ['log-head'] };
  },
  'a cosignature forged': (bundle, pick) => {
    const byte = 4 + pick(72);
    const forged = (proof: string) =>
      proof.replace(/[^ ]+\n$/, (encoded) => {
        const bytes = Buffer.from(encoded, 'base64');
        bytes[byte] = (bytes[byte] as number) ^ 1;
        return `${bytes.toString('base64')}\n`;
      });
    const records = bundle.records.map((record) =>
      record.proof === undefined ? record : { ...record, proof: forged(record.proof) },
    );
    return { lines: replaced(bundle, records), found: ['witness'] };
  },
  'an old head replayed': (bundle, pick) => {
    // The newest entries are not in it. Their proofs stay, or are left out.
    const size = bundle.log.size - 1 - pick(Math.min(4, bundle.log.size - 2));
    const records = bundle.records.map((record) => {
      const index = record.proof === undefined ? bundle.log.size : parseProof(record.proof).index;
      return index < size ? { ...record, proof: bundle.log.proof(index, size) } : { ...record, proof: undefined };
    });
    return { lines: replaced(bundle, records), found: ['log-head', 'inclusion'] };
  },
  'a proof left out': (bundle, pick) => ({
    lines: edit(bundle, recordAt(bundle, pick, isProven), (record) => ({ ...record, proof: undefined })),
    found: ['inclusion'],
  }),
  'proofs swapped': (bundle, pick) => {
    const [first, second] = [recordAt(bundle, pick, isProven), recordAt(bundle, pick, isProven)];
    const proofs = [first, second].map((at) => parseRecord(bundle.lines[at] as string).proof);
    const proof = first === second ? bundle.log.proof(0) : proofs[1];
    return { lines: edit(bundle, first, (record) => ({ ...record, proof })), found: ['inclusion'] };
  },
  'redaction forged': (bundle, pick) => {
    const at = recordAt(bundle, pick, ({ parts }) => parts.some((part) => typeof part !== 'string'));
    const lines = edit(bundle, at, (record) => {
      const salted = record.parts.flatMap((part, index) => (typeof part === 'string' ? [] : [index]));
      const chosen = salted[pick(salted.length)];
      const hash = Buffer.alloc(32, 1 + pick(200)).toString('hex');
      const parts = record.parts.map((part, index) => {
        if (index !== chosen || typeof part === 'string') return part;
        return { class: part.class, hash };
      });
      return { ...record, parts };
    });
    return { lines, found: ['digest'] };
  },
  'open content declared redacted': (bundle, pick) => {
    const at = recordAt(bundle, pick, ({ parts }) => parts.some((part) => typeof part === 'string'));
    const lines = edit(bundle, at, (record) => {
      const first = record.parts.findIndex((part) => typeof part === 'string');
      const parts = record.parts.map((part, index) =>
        index === first ? { class: 'unreadable' as const, hash: record.sha256 } : part,
      );
      return { ...record, parts };
    });
    return { lines, found: ['digest', 'records'] };
  },
  'a redacted class renamed': (bundle, pick) => {
    const at = recordAt(bundle, pick, ({ parts }) => parts.some((part) => typeof part !== 'string'));
    const lines = edit(bundle, at, (record) => ({
      ...record,
      parts: record.parts.map((part) => (typeof part === 'string' ? part : { ...part, class: 'unreadable' as const })),
    }));
    return { lines, found: ['digest'] };
  },
};

const replaced = ({ lines }: Bundle, records: readonly EvidenceRecord[]): string[] => [
  lines[0] as string,
  ...records.map(formatRecord),
  lines.at(-1) as string,
];

export const MANIPULATIONS: readonly string[] = Object.keys(KINDS);

export function bundleOf(seed: number): Bundle {
  const own = logged(incident(seed));
  return { ...own, lines: linesOf(own, own.log.stated()) };
}

export const forge = (kind: string, bundle: Bundle, pick: Pick): Forgery =>
  (KINDS[kind] as (typeof KINDS)[string])(bundle, pick);
