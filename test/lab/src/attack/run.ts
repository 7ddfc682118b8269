/**
 * Runs an attack in a lab. Witnesses observe the receiving interfaces before the first frame is
 * sent, the sender is a process of the attacking pod, and every count comes from the party that saw
 * the packets.
 */
import { randomBytes } from 'node:crypto';
import { LabError } from '../errors.ts';
import type { LocalPod } from '../kubelet/kubelet.ts';
import type { LineProcess } from '../process/lines.ts';
import { stopLines } from '../process/lines.ts';
import type { Lab } from '../supervisor/lab.ts';
import { packFrames } from './frames.ts';
import { type CountReport, parseReport, type SendReport } from './json-lines.ts';
import { ATTACK_VECTORS, type AttackStep, type AttackVector, type Party, planAttack } from './plan.ts';

/** A witness that neither reports nor ends within this time has failed. */
const WITNESS_TIMEOUT_MS = 15_000;

/** A pod as a party of an attack. @throws LabError LAB_NOT_FOUND */
export function partyOf(lab: Lab, uid: string): Party {
  const pod = lab.parts.kubelet?.pods.get(uid) as LocalPod | undefined;
  const at = (addresses: readonly string[] | undefined, v6: boolean) =>
    addresses?.find((ip) => ip.includes(':') === v6);
  const [ip4, ip6] = [at(pod?.addresses, false), at(pod?.addresses, true)];
  const [gateway4, gateway6] = [at(pod?.gateways, false), at(pod?.gateways, true)];
  if (!pod || !ip4 || !ip6 || !gateway4 || !gateway6) {
    throw new LabError('LAB_NOT_FOUND', `no dual-stack pod ${uid} runs in lab ${lab.id}`);
  }
  return { uid, mac: pod.mac, ip4, ip6, gatewayMac: pod.gatewayMac, gateway4, gateway6 };
}

/** Plans an attack between three pods of the lab with fresh markers. */
export function planIn(lab: Lab, uids: { attacker: string; victim: string; claimed: string }): AttackStep[] {
  const parties = {
    attacker: partyOf(lab, uids.attacker),
    victim: partyOf(lab, uids.victim),
    claimed: partyOf(lab, uids.claimed),
  };
  return planAttack(lab.parts.plan.options.cni, parties, [randomBytes(16), randomBytes(16)]);
}

/** Counts marked frames at one pod's interface, from `ready` until `finish`. */
class Witness {
  readonly steps: readonly AttackStep[];
  counts: number[];
  #process: LineProcess | null = null;
  #ready: () => void = () => undefined;

  constructor(steps: readonly AttackStep[]) {
    this.steps = steps;
    this.counts = steps.map(() => 0);
  }

  async start(lab: Lab, uid: string): Promise<void> {
    const ready = new Promise<void>((resolve) => {
      this.#ready = resolve;
    });
    const markers = this.steps.map((step) => step.marker.toString('hex'));
    this.#process = await lab.besidePod(uid, ['count', 'eth0', ...markers], { onLine: (line) => this.#take(line) });
    await Promise.race([ready, this.#process.ended]);
    if (this.#process.hasEnded()) throw new LabError('LAB_PROCESS_ENDED', `witness: ${this.#process.stderrTail()}`);
  }

  #take(line: string): void {
    const report = parseReport<CountReport>(line);
    if (report.overrun > 0) throw new LabError('LAB_NOT_READY', `a witness missed ${report.overrun} packets`);
    this.counts = report.counts;
    if (report.event === 'ready') this.#ready();
  }

  /** The final count, even if the pod is gone. */
  async finish(): Promise<void> {
    if (!this.#process) return;
    this.#process.closeInput();
    const timer = setTimeout(() => this.#process?.child.kill('SIGKILL'), WITNESS_TIMEOUT_MS);
    await this.#process.ended;
    clearTimeout(timer);
  }
}

export interface AttackProgress {
  sent: number;
  /** Wall-clock time of the first frame; null before it was sent. */
  firstAtMicros: number | null;
  landed: Record<AttackVector, number>;
}
export interface AttackOutcome extends AttackProgress {
  landedTotal: number;
}

export class Attack {
  #witnesses: Witness[];
  #sender: LineProcess | null = null;
  #sent = 0;
  #done = false;
  #firstAtMicros: number | null = null;

  private constructor(witnesses: Witness[]) {
    this.#witnesses = witnesses;
  }

  /**
   * @param shape `count` frames in total, in turn over the steps, `rate` per second (0 = unlimited)
   */
  static async start(
    lab: Lab,
    attackerUid: string,
    steps: readonly AttackStep[],
    shape: { rate: number; count: number },
  ): Promise<Attack> {
    const uids = [...new Set(steps.map((step) => step.witnessUid))];
    const attack = new Attack(uids.map((uid) => new Witness(steps.filter((step) => step.witnessUid === uid))));
    await Promise.all(attack.#witnesses.map((witness) => witness.start(lab, witness.steps[0]!.witnessUid)));
    const command = ['send', 'eth0', String(shape.rate), String(shape.count)];
    attack.#sender = await lab.inPod(attackerUid, command, { onLine: (line) => attack.#take(line) });
    attack.#sender.closeInput(packFrames(steps.map((step) => step.frame)));
    return attack;
  }

  #take(line: string): void {
    const report = parseReport<SendReport>(line);
    if (report.event === 'first') this.#firstAtMicros = report.atMicros ?? null;
    if (report.sent !== undefined) this.#sent = report.sent;
    if (report.event === 'done') this.#done = true;
  }

  progress(): AttackProgress {
    const landed = Object.fromEntries(ATTACK_VECTORS.map((vector) => [vector, 0])) as Record<AttackVector, number>;
    for (const { steps, counts } of this.#witnesses) {
      for (const [index, step] of steps.entries()) landed[step.vector] += counts[index] ?? 0;
    }
    return { sent: this.#sent, firstAtMicros: this.#firstAtMicros, landed };
  }

  /** Resolves when the sender has ended: all frames are sent, or its pod was stopped. */
  async sent(): Promise<void> {
    await this.#sender?.ended;
  }

  /**
   * Waits for the sender, then for the final counts of the witnesses. @throws LabError if the
   * sender reported no count
   */
  async finish(): Promise<AttackOutcome> {
    await this.sent();
    await Promise.all(this.#witnesses.map((witness) => witness.finish()));
    if (!this.#done) {
      throw new LabError('LAB_PROCESS_ENDED', `the sender ended without its count: ${this.#sender?.stderrTail()}`);
    }
    const progress = this.progress();
    return { ...progress, landedTotal: Object.values(progress.landed).reduce((sum, count) => sum + count, 0) };
  }

  /** Stops everything at once. */
  async abort(): Promise<void> {
    if (this.#sender) await stopLines(this.#sender, 'SIGKILL', 0);
    await Promise.all(this.#witnesses.map((witness) => witness.finish()));
  }
}
