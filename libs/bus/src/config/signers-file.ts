/** The file of signers that a service receives at its start. */
import { readFileSync } from 'node:fs';
import { ConfigError, NO_SIGNERS, parseSigners, SignedConfig } from '@bailiff/policy';
import { EXIT } from '@bailiff/service/exit-codes';

class SignersFileError extends ConfigError {
  /** Read by the process frame. */
  readonly exitCode = EXIT.badConfiguration;
}

/**
 * The check of signed configuration. A file that cannot be used ends the start: without it, unsigned
 * values would be accepted.
 * @param file empty: no signature is required
 * @throws ConfigError CONFIG_SIGNATURE, with exit code 6
 */
export function signedConfigBy(file: string): SignedConfig {
  if (file === '') return new SignedConfig(NO_SIGNERS);
  try {
    return new SignedConfig(parseSigners(readFileSync(file, 'utf8')));
  } catch (cause) {
    const isOfFile = cause instanceof ConfigError || (cause as NodeJS.ErrnoException).syscall !== undefined;
    if (!isOfFile) throw cause;
    const message = `cannot use the signers of configuration in ${file}: ${(cause as Error).message}`;
    throw new SignersFileError('CONFIG_SIGNATURE', message, [], { cause });
  }
}
