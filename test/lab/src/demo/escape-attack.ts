/**
 * The escape attempt of the demo's second part: escape.c in a container of a lab's pod, with all
 * capabilities and its own /proc. Without a policy it succeeds, so it runs only inside the virtual
 * machine.
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

/** Compiled on the host before the machine boots. */
export interface EscapePrograms {
  /** Starts a program in a container, like a runtime. */
  contain: string;
  escape: string;
}

const CORE_PATTERN = '/proc/sys/kernel/core_pattern';
const MODPROBE = '/proc/sys/kernel/modprobe';
/** Limit of a container's run; an emulated machine on a busy host starts slowly. */
const KILL_AFTER_MS = 60_000;

/** State of the host that a successful attempt changes. */
class HostMarks {
  readonly #core = readFileSync(CORE_PATTERN, 'utf8');
  readonly #modprobe = readFileSync(MODPROBE, 'utf8');
  readonly #group: string;
  constructor(cgroupMount: string) {
    this.#group = path.join(cgroupMount, 'escaped');
  }
  /** Escape ways with traces on the host. */
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

  /**
   * Starts it in a container of the pod: `once` tries each way once, `forever` repeats until the
   * pod is stopped.
   */
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

  /**
   * Waits for its end, or stops it after the limit, and reverts its changes on the host. `landed`
   * needs both sides.
   */
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

/**
 * Operations of a pod that the kernel refused, by its own counters; null if no policy applies to
 * the pod.
 */
export function kernelRefusals(lab: Lab, pod: LabPodInfo): number | null {
  using pinned = openPinnedRuntimeMaps(lab.node(pod.node).bpfDir);
  const subject = pinned?.maps.pods.get(pod.uid.replaceAll('-', ''));
  if (!pinned || !subject) return null;
  const rules = subject.counterCount - RUNTIME_EXTRA_CELLS;
  return pinned.maps.counters(subject.counterBase, rules).reduce((sum, count) => sum + Number(count), 0);
}
