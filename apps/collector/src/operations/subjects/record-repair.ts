/**
 * Records the pods and processes that the kernel programs did not record themselves.
 *
 * Data path: engine.ts → here → rt_cgroups, rt_tasks. At the start these are the ones older than
 * the programs. Afterwards the programs see every entry, so a record that is missing then is a
 * failure: a map was full, or a link was detached. It is repaired, counted and reported.
 */
export interface Recorder {
  /** Binds the cgroups of pods. @returns new ones */
  bindPods(): number;
  /** @returns processes that had no record */
  recordTasks(): readonly number[];
}

export class RecordRepair {
  readonly #recorder: Recorder;
  #pods = 0;
  #processes = 0;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** Records what is older than the programs. */
  start(): void {
    this.#record();
  }

  /** @returns what was repaired, as text; empty: nothing */
  repair(): string {
    const { pods, processes } = this.#record();
    if (pods + processes === 0) return '';
    this.#pods += pods;
    this.#processes += processes;
    return `repaired ${pods} cgroups of pods and ${processes} processes in them that the kernel programs had not recorded: a map was full, or a link was detached`;
  }

  /** Repaired since the start of this process, by kind. */
  get repaired(): { pods: number; processes: number } {
    return { pods: this.#pods, processes: this.#processes };
  }

  #record(): { pods: number; processes: number } {
    return { pods: this.#recorder.bindPods(), processes: this.#recorder.recordTasks().length };
  }
}
