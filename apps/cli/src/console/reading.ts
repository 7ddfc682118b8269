/** The bus of the console, and a reader for each reading. */
import type { MaySee } from '@bailiff/console';
import { MessageDecoder, type Reader, readBusTime } from '@bailiff/insight';
import { parseWhen } from '../shared/arguments.ts';
import { CliError } from '../shared/errors.ts';

/** Whose login the console uses, and where. */
export interface ConsoleBus extends Pick<Reader, 'bus' | 'server' | 'nowMs'> {
  connection: { natsUrl: string; natsUser: string };
  version: string;
  /** In files: the person, unless the visitor has a name. */
  operator: string;
}

/** A reader of one reading: with a signal and notes of its own. */
export function reading(
  session: Pick<ConsoleBus, 'bus' | 'server' | 'nowMs'>,
  signal: AbortSignal,
): Reader & { notes: string[] } {
  const notes: string[] = [];
  const note = (text: string) => {
    notes.push(text);
  };
  const { bus, server, nowMs } = session;
  return { bus, server, nowMs, signal, note, notes, decoder: new MessageDecoder(bus) };
}

/** They count what could not be read, of all pods. */
export const notesFor = ({ notes }: { notes: string[] }, maySee: MaySee): string[] => (maySee(null) ? notes : []);

const LONGEST_TRIAL_MS = 7 * 86_400_000;

/** Start of a range that is judged again. @throws CliError CLI_USAGE; BusError */
export async function trialStart(reader: Pick<Reader, 'bus' | 'nowMs'>, since: string): Promise<number> {
  const nowMs = await readBusTime(reader);
  const sinceMs = parseWhen(since, 'since')(nowMs);
  if (nowMs - sinceMs <= LONGEST_TRIAL_MS + 60_000) return sinceMs;
  throw new CliError('CLI_USAGE', 'at most seven days can be tried here', { remedy: 'the commands take any range' });
}

/** Start of a range, by the bus's clock. @throws CliError CLI_USAGE; BusError */
export const startOf = async (reader: Pick<Reader, 'bus' | 'nowMs'>, since: string): Promise<number> =>
  parseWhen(since, 'since')(await readBusTime(reader));
