/**
 * Summary of a capture for a SIEM: number of processes, executables and peers. The complete capture
 * with arguments stays in RESPONSES, because events are small and arguments may hold secrets. Pure.
 */
import type { PodCapture } from '@bailiff/schemas';
import { clip } from './event.ts';

/** Names of each kind in one event, so that it fits a syslog message. */
export const MAX_CAPTURE_NAMES = 16;
const MAX_NAME = 96;

export interface CaptureFacts {
  /** Milliseconds since 1970 on the node's clock. */
  takenMs: number;
  processes: number;
  sockets: number;
  /**
   * Executables without duplicates, those of the evidence first. A process without one has its
   * kernel name.
   */
  executables: string[];
  /** Peers of connections without duplicates. */
  peers: string[];
}

const distinct = (names: readonly string[]): string[] =>
  [...new Set(names.filter((name) => name !== '').map((name) => clip(name, MAX_NAME)))].slice(0, MAX_CAPTURE_NAMES);

/** Counts include processes and sockets that were not recorded. */
export function captureFacts(capture: PodCapture): CaptureFacts {
  return {
    takenMs: Math.floor(capture.takenAt / 1000),
    processes: capture.processes.length + capture.processesOmitted,
    sockets: capture.sockets.length + capture.socketsOmitted,
    executables: distinct(capture.processes.map(({ executable, comm }) => executable || comm)),
    peers: distinct(capture.sockets.map(({ remote }) => remote)),
  };
}

/** Fields below `bailiff` in JSON events; absent without a capture. */
export function captureJson(capture: PodCapture | null): Record<string, unknown> | undefined {
  if (capture === null) return undefined;
  const { takenMs, ...facts } = captureFacts(capture);
  return { taken_at: takenMs, ...facts };
}
