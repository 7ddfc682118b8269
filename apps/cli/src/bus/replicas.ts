import { InvalidArgumentError } from 'commander';

/** JetStream's supported replica counts. */
const REPLICAS = [1, 3, 5];

/** Value of `--replicas`. @throws InvalidArgumentError */
export function replicas(text: string): number {
  const number = Number(text);
  if (!REPLICAS.includes(number))
    throw new InvalidArgumentError('Use 1, 3 or 5: an even number tolerates no more failures than one less.');
  return number;
}
