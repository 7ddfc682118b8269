/** The bus of the console, and a reader for each reading. */
import { MessageDecoder, type Reader } from '@bailiff/insight';

/** Whose login the console uses, and where. */
export interface ConsoleBus extends Pick<Reader, 'bus' | 'server' | 'nowMs'> {
  connection: { natsUrl: string; natsUser: string };
}

/** A reader of one reading: with a signal and notes of its own. */
export function reading(session: Omit<ConsoleBus, 'connection'>, signal: AbortSignal): Reader & { notes: string[] } {
  const notes: string[] = [];
  const note = (text: string) => {
    notes.push(text);
  };
  const { bus, server, nowMs } = session;
  return { bus, server, nowMs, signal, note, notes, decoder: new MessageDecoder(bus) };
}
