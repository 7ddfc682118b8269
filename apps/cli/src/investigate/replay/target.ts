/**
 * Validates the target prefix of a replay. Pure. A copy must never be taken for an original, so
 * subjects of Bailiff's readers and of server responses are refused. Below `bailiff.`, only
 * `bailiff.v1.replay` is outside of all streams.
 */
import { ROOT } from '@bailiff/bus';
import { CliError } from '../../shared/errors.ts';

/** Subjects outside of all streams. */
export const SCRATCH = `${ROOT}.replay`;
const MAX_PREFIX = 128;
const TOKEN = /^[A-Za-z0-9_-]+$/;

/** @throws CliError CLI_USAGE */
export function checkTarget(prefix: string): string {
  const refuse = (why: string) =>
    new CliError('CLI_USAGE', `--to: "${prefix}" ${why}`, {
      remedy: `use ${SCRATCH}.case-7, or a prefix of your own`,
    });
  const tokens = prefix.split('.');
  if (prefix.length > MAX_PREFIX || !tokens.every((token) => TOKEN.test(token))) {
    throw refuse('is not a subject prefix: use tokens of letters, digits, "-" and "_", separated by dots');
  }
  if (tokens[0]?.startsWith('_INBOX')) throw refuse('is reserved for replies');
  const isScratch = prefix === SCRATCH || prefix.startsWith(`${SCRATCH}.`);
  if (tokens[0]?.toLowerCase() === 'bailiff' && !isScratch)
    throw refuse('is a live subject: its readers would take copies for originals');
  return prefix;
}

/** `bailiff.v1.violations.3.node-a.spoof` under a prefix: `<prefix>.violations.3.node-a.spoof`. */
export function copySubject(prefix: string, subject: string): string {
  return `${prefix}${subject.slice(ROOT.length)}`;
}
