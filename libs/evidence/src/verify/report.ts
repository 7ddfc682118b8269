/**
 * The result of a verification: one outcome per check, and the limits of all checks. Pure.
 *
 * SKIP does not count as PASS. Its detail names the input that the check lacks.
 */
export const CHECKS = [
  'format',
  'signature',
  'records',
  'content',
  'digest',
  'log-head',
  'witness',
  'inclusion',
  'consistency',
  'verdict',
  'evidence',
  'judged',
  'responses',
] as const;
export type CheckName = (typeof CHECKS)[number];
export type Outcome = 'PASS' | 'FAIL' | 'SKIP';

export interface Check {
  name: CheckName;
  outcome: Outcome;
  detail: string;
}

/** Limit of failures of one check that are listed. */
const MAX_NAMED = 4;

export class Checks {
  readonly #failures = new Map<CheckName, string[]>();
  readonly #others = new Map<CheckName, { outcome: 'PASS' | 'SKIP'; detail: string }>();
  readonly #counts = new Map<CheckName, number>();
  readonly #lacking = new Map<CheckName, string>();

  /** A check that failed once stays failed. */
  fail(name: CheckName, detail: string): void {
    const failures = this.#failures.get(name) ?? [];
    if (failures.length < MAX_NAMED) failures.push(detail);
    this.#failures.set(name, failures);
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }
  pass(name: CheckName, detail: string): void {
    this.#others.set(name, { outcome: 'PASS', detail });
  }
  skip(name: CheckName, needs: string): void {
    this.#others.set(name, { outcome: 'SKIP', detail: `needs ${needs}` });
  }

  /** A check that lacks something is skipped where it would pass. */
  lacks(name: CheckName, needs: string): void {
    this.#lacking.set(name, needs);
  }

  /** Results in the order of CHECKS. A check without a result is skipped. */
  list(): Check[] {
    return CHECKS.map((name) => {
      const failures = this.#failures.get(name);
      if (failures) {
        const more = (this.#counts.get(name) ?? 0) - failures.length;
        return { name, outcome: 'FAIL', detail: failures.join('; ') + (more > 0 ? `; and ${more} more` : '') };
      }
      const lacking = this.#lacking.get(name);
      if (lacking !== undefined && this.#others.get(name)?.outcome === 'PASS') this.skip(name, lacking);
      const other = this.#others.get(name);
      return { name, ...(other ?? { outcome: 'SKIP', detail: 'needs a bundle that can be read up to here' }) };
    });
  }
}

/** Limits of a verification, for people who rely on it. */
export const LIMITS = [
  'A node reports its own violations. These checks show what the bus stored and how it was judged, not that the node reported what its kernel saw.',
  'An attacker who controls a node can report packets that were never sent, or report none, for pods of that node alone.',
  'The times are those of the bus. The bus, its administrator, or one of its core services can have stored other messages before they were hashed into a log.',
  'Without a log, the exporter vouches for the bytes: its key can sign other frames.',
  'A log can show another history to other readers. Only a witness that you know, or a head that you kept, excludes this.',
  'Pod lists are those at the time of the export, with the refusals of that time. They are signed by the exporter and are in no log.',
  'The exporter chose the records. Nothing shows that no frame, dead letter or change of the configuration was left out.',
  'The bundle contains the responses that the exporter read. It does not prove that there were no others.',
] as const;
/** A further limit of a redacted bundle. */
export const REDACTED_LIMIT =
  'A message with redacted content is bound by hashes that the exporter signed, with all of its content. Only a person with the redacted content and its salt can show that it is the logged message.';
