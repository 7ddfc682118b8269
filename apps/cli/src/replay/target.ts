/**
 * Where a replay may go. Pure. A copy of a message must never be taken for the message: what Bailiff's own readers listen to, and whatever a server answers
 * on, is refused, by an allow-list within `bailiff.`: only `bailiff.v1.replay` lies outside of all streams and readers.
 */
import { ROOT } from '@bailiff/bus';
import { CliError } from '../shared/errors.ts';

/** Subjects that no stream takes and nobody reads unless asked to. */
export const SCRATCH = `${ROOT}.replay`;
const MAX_PREFIX = 128;
const TOKEN = /^[A-Za-z0-9_-]+$/;

/** @throws CliError CLI_USAGE */
export function checkTarget(prefix: string): string {
  const refuse = (why: string) =>
    new CliError('CLI_USAGE', `--to: "${prefix}" ${why}`, {
      remedy: `such as ${SCRATCH}.case-7, or a prefix of your own`,
    });
  const tokens = prefix.split('.');
  if (prefix.length > MAX_PREFIX || !tokens.every((token) => TOKEN.test(token))) {
    throw refuse('is not a prefix of a subject: tokens of letters, digits, "-" and "_", with dots between them');
  }
  if (tokens[0]?.startsWith('_INBOX')) throw refuse('is where answers go');
  const isScratch = prefix === SCRATCH || prefix.startsWith(`${SCRATCH}.`);
  if (tokens[0]?.toLowerCase() === 'bailiff' && !isScratch)
    throw refuse('is live: its readers would take copies for facts');
  return prefix;
}

/** `bailiff.v1.violations.3.node-a.spoof` under a prefix: `<prefix>.violations.3.node-a.spoof`. */
export function copySubject(prefix: string, subject: string): string {
  return `${prefix}${subject.slice(ROOT.length)}`;
}
