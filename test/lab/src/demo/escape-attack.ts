/**
 * The escape attempt of the demo's second act, in a lab that runs inside the virtual machine: escape.c in a container of a lab's pod,
 * with every capability and a /proc of its own. It really lands when nothing stops it, so it is never run on the machine itself.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openPinnedRuntimeMaps, RUNTIME_EXTRA_CELLS } from '@bailiff/bpf';
import { LabError } from '../errors.ts';
import { type LineProcess, startLines, stopLines } from '../process/lines.ts';
import type { LabPodInfo } from '../state/state.ts';
import type { Lab } from '../supervisor/lab.ts';
import { ESCAPE_WAYS, type EscapeCounts, type EscapeWay } from './escape-summary.ts';

/** Compiled by the host before the machine boots. */
export interface EscapePrograms {
  /** Starts a program in a container, as a runtime does. */
  contain: string;
  escape: string;
}

const CORE_PATTERN = '/proc/sys/kernel/core_pattern';
const MODPROBE = '/proc/sys/kernel/modprobe';
/** A container that nobody stopped by then: it begins slowly in an emulated machine on a busy one. */
const KILL_AFTER_MS = 60_000;

/** What of the host a landed attempt changes, and how it was before. */
class HostMarks {
  readonly #core = readFileSync(CORE_PATTERN, 'utf8');
  readonly #modprobe = readFileSync(MODPROBE, 'utf8');
  readonly #group: string;
  constructor(cgroupMount: string) {
    this.#group = path.join(cgroupMount, 'escaped');
  }
  /** The ways that the host shows traces of. */
  seen(): EscapeWay[] {
    const marks: Record<EscapeWay, boolean> = {
      core_pattern: readFileSync(CORE_PATTERN, 'utf8') !== this.#core,
      'host-mount': existsSync(this.#group),
      modprobe: readFileSync(MODPROBE, 'utf8') !== this.#modprobe,
    };
    return ESCAPE_WAYS.filter((way) => marks[way]);
  }
  undo(): void {
    writeFileSync(CORE_PATTERN, this.#core);
    writeFileSync(MODPROBE, this.#modprobe);
    if (existsSync(this.#group)) rmdirSync(this.#group);
  }
}

function makeRoot(program: string): string {
  const root = mkdtempSync(path.join(tmpdir(), 'bailiff-demo-root-'));
  for (const name of ['bin', 'proc', 'tmp', 'mnt']) mkdirSync(path.join(root, name));
  copyFileSync(program, path.join(root, 'bin/escape'));
  return root;
}

export class EscapeAttack {
  readonly counts: EscapeCounts = { attempts: 0, refused: 0, landed: 0, failed: 0, ordinary: { tried: 0, passed: 0 } };
  readonly #root: string;
  readonly #marks: HostMarks;
  #process!: LineProcess;

  private constructor(lab: Lab, programs: EscapePrograms) {
    this.#marks = new HostMarks(lab.parts.cgroupMount);
    this.#root = makeRoot(programs.escape);
  }

  /** Begins it in a container of this pod: `once` tries each way once, `forever` until the pod is stopped. */
  static async start(lab: Lab, pod: LabPodInfo, programs: EscapePrograms, how: 'once' | 'forever') {
    const place = lab.parts.kubelet?.pods.get(pod.uid);
    if (!place) throw new LabError('LAB_NOT_FOUND', `no pod ${pod.name} runs`);
    const attack = new EscapeAttack(lab, programs);
    const words = [place.containerCgroupDir, attack.#root, '/bin/escape', how];
    attack.#process = await startLines(programs.contain, words, { onLine: (line) => attack.#take(line) });
    return attack;
  }

  #take(line: string): void {
    const [way, outcome] = line.split(' ');
    if (way === 'ordinary') {
      this.counts.ordinary.tried += 1;
      if (outcome === 'landed') this.counts.ordinary.passed += 1;
      return;
    }
    this.counts.attempts += 1;
    if (outcome === 'landed' || outcome === 'refused') this.counts[outcome] += 1;
    else this.counts.failed += 1;
  }

  /** Waits for its end, or makes one when nobody did; what it changed on the host is undone. Landed is what both sides know of. */
  async finish(): Promise<EscapeCounts & { seenByHost: EscapeWay[] }> {
    const timer = setTimeout(() => void stopLines(this.#process, 'SIGTERM', 0), KILL_AFTER_MS);
    const code = await this.#process.ended;
    clearTimeout(timer);
    if (this.counts.attempts === 0)
      throw new LabError('LAB_PROCESS_ENDED', `the attack did not begin (${code}): ${this.#process.stderrTail()}`);
    const seenByHost = this.#marks.seen();
    this.#marks.undo();
    execFileSync('rm', ['-r', '--one-file-system', this.#root]);
    return { ...this.counts, seenByHost };
  }
}

/** What the kernel refused a pod, by its own counters, past collector and bus; null when it holds the pod to nothing. */
export function kernelRefusals(lab: Lab, pod: LabPodInfo): number | null {
  using pinned = openPinnedRuntimeMaps(lab.node(pod.node).bpfDir);
  const subject = pinned?.maps.pods.get(pod.uid.replaceAll('-', ''));
  if (!pinned || !subject) return null;
  const rules = subject.counterCount - RUNTIME_EXTRA_CELLS;
  return pinned.maps.counters(subject.counterBase, rules).reduce((sum, count) => sum + Number(count), 0);
}
