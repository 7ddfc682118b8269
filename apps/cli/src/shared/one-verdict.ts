/** The one verdict that an argument names. */
import { type Reader, type VerdictRow, verdictsById } from '@bailiff/insight';
import { CliError } from './errors.ts';

/** Whether an argument is a verdict id rather than a pod. */
export const isVerdictId = (text: string) => /^[0-9a-f]{8,32}$/.test(text);

/** The one verdict with this id prefix. @param maySee others do not exist for the reader @throws CliError CLI_NOT_FOUND | CLI_USAGE */
export async function verdictById(
  reader: Reader,
  prefix: string,
  maySee: (row: VerdictRow) => boolean = () => true,
): Promise<VerdictRow> {
  const { count, newest } = await verdictsById(reader, prefix, maySee);
  if (count === 1) return newest[0] as VerdictRow;
  if (count === 0) {
    throw new CliError('CLI_NOT_FOUND', `no verdict id starts with "${prefix}"`, {
      remedy: '`bailiff verdicts --since all` lists the ids; select a pod as namespace/name',
    });
  }
  throw new CliError('CLI_USAGE', `"${prefix}" is a prefix of ${count} verdict ids`, {
    remedy: `use more characters of one id:\n${newest
      .map(({ verdict }) => `${verdict.verdictId}  ${verdict.rule}`)
      .join('\n')}`,
  });
}
