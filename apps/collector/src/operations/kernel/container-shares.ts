/**
 * Shares of container subjects in the counters and subjects of the kernel maps. A pod has a subject for
 * each container that a policy names, and its author chooses the containers. So containers use only a
 * part of the maps, of which a namespace gets a further subject only while more is free than it has. The
 * rest is for the subjects of whole pods. Pure.
 */
import { FairCounts } from '@bailiff/service';

/** Parts of the maps that containers use: the rest holds a subject for each pod of a full node. */
export const CONTAINER_CELLS = 1 / 2;
export const CONTAINER_SUBJECTS = 3 / 4;

export class ContainerShares {
  readonly #cells: FairCounts;
  readonly #subjects: FairCounts;

  constructor(cells: number, subjects: number) {
    this.#cells = new FairCounts(Math.floor(cells * CONTAINER_CELLS));
    this.#subjects = new FairCounts(Math.floor(subjects * CONTAINER_SUBJECTS));
  }

  /** @throws Error if the namespace has its share of subjects */
  addSubject(namespace: string): void {
    if (!this.#subjects.hasRoom(namespace)) throw refusal(namespace, this.#subjects, 'subjects');
    this.#subjects.add(namespace);
  }

  /** @throws Error if the namespace has its share of counters */
  addCells(namespace: string, count: number): void {
    if (this.#cells.roomFor(namespace) < count) throw refusal(namespace, this.#cells, 'counters');
    this.#cells.add(namespace, count);
  }

  /** A subject of an earlier process. */
  adoptSubject(namespace: string): void {
    this.#subjects.add(namespace);
  }

  /** Counters of an earlier process. */
  adoptCells(namespace: string, count: number): void {
    this.#cells.add(namespace, count);
  }

  removeSubject(namespace: string): void {
    this.#subjects.remove(namespace);
  }

  removeCells(namespace: string, count: number): void {
    this.#cells.remove(namespace, count);
  }
}

const refusal = (namespace: string, { most }: FairCounts, what: string): Error =>
  new Error(
    `namespace ${namespace} has its share of the ${most} ${what} for containers: let policies name fewer of its containers, or run fewer of its pods on the node`,
  );
