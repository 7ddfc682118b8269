/**
 * What a SIEM is told of a capture: how much there was, which executables ran and with whom the pod spoke. The whole of it, arguments among it,
 * stays in RESPONSES: an event is small, and arguments may hold secrets. Pure.
 */
import type { PodCapture } from '@bailiff/schemas';
import { clip } from './event.ts';

/** Names of each kind in one event, so that it fits a syslog message beside the rest. */
export const MAX_CAPTURE_NAMES = 16;
const MAX_NAME = 96;

export interface CaptureFacts {
  /** Milliseconds since 1970, by the node's clock. */
  takenMs: number;
  processes: number;
  sockets: number;
  /** Those of the evidence first, each once. A process without one is named as the kernel has it. */
  executables: string[];
  /** Peers of its connections, each once. */
  peers: string[];
}

const distinct = (names: readonly string[]): string[] =>
  [...new Set(names.filter((name) => name !== '').map((name) => clip(name, MAX_NAME)))].slice(0, MAX_CAPTURE_NAMES);

/** Processes and sockets are all that there were, those that were not recorded too. */
export function captureFacts(capture: PodCapture): CaptureFacts {
  return {
    takenMs: Math.floor(capture.takenAt / 1000),
    processes: capture.processes.length + capture.processesOmitted,
    sockets: capture.sockets.length + capture.socketsOmitted,
    executables: distinct(capture.processes.map(({ executable, comm }) => executable || comm)),
    peers: distinct(capture.sockets.map(({ remote }) => remote)),
  };
}

/** As JSON events have it, below what is Bailiff's own; absent when nothing was captured. */
export function captureJson(capture: PodCapture | null): Record<string, unknown> | undefined {
  if (capture === null) return undefined;
  const { takenMs, ...facts } = captureFacts(capture);
  return { taken_at: takenMs, ...facts };
}
