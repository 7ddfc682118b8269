/** What a reader of the bus needs. */
import type { Bus, BusOptions } from '@bailiff/bus';
import type { MessageDecoder } from './decoder.ts';

export interface Reader {
  bus: Bus;
  /** With which `bus` was connected. */
  server: Pick<BusOptions, 'servers' | 'tls' | 'dial'>;
  decoder: MessageDecoder;
  nowMs: () => number;
  /** Says what could not be read. */
  note: (text: string) => void;
  /** Ends every read. */
  signal: AbortSignal;
}
