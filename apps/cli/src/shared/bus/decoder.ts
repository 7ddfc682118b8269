/**
 * Messages of the bus as today's types, whichever version wrote them: what this build does not know is looked up in `bailiff_schemas`. What
 * cannot be read is counted by reason and passed over, so that one bad message does not hide the others.
 */
import { type Bus, BusError, type StreamMessage, schemaLookup } from '@bailiff/bus';
import {
  decode,
  decodeWithLookup,
  type MessageName,
  type Messages,
  SchemaError,
  SchemaRegistry,
} from '@bailiff/schemas';

export class MessageDecoder {
  readonly #registry: SchemaRegistry;
  /** By reason, how many could not be read. */
  readonly unreadable = new Map<string, number>();

  constructor(bus: Bus) {
    this.#registry = new SchemaRegistry(schemaLookup(bus));
  }

  /**
   * Hands a message's value on. Synchronous for schemas that are known, which is several times faster.
   * @throws BusError when the bus cannot be asked for a schema; what `use` throws
   */
  read<N extends MessageName>(
    message: StreamMessage,
    name: N,
    use: (value: Messages[N]) => void | Promise<void>,
  ): void | Promise<void> {
    let decoded: ReturnType<typeof decode>;
    try {
      decoded = decode(message.data, this.#registry);
    } catch (error) {
      if (!(error instanceof SchemaError)) throw error;
      if (error.code !== 'UNKNOWN_FINGERPRINT') return this.#count(error.code);
      return this.#lookUp(message, name, use);
    }
    if (decoded.name !== name) return this.#count('WRONG_SCHEMA');
    return use(decoded.value as Messages[N]);
  }

  async #lookUp<N extends MessageName>(
    message: StreamMessage,
    name: N,
    use: (value: Messages[N]) => void | Promise<void>,
  ): Promise<void> {
    let decoded: Awaited<ReturnType<typeof decodeWithLookup>>;
    try {
      decoded = await decodeWithLookup(message.data, this.#registry);
    } catch (error) {
      if (error instanceof BusError || !(error instanceof SchemaError)) throw error;
      return this.#count(error.code);
    }
    if (decoded.name !== name) return this.#count('WRONG_SCHEMA');
    await use(decoded.value as Messages[N]);
  }

  #count(reason: string): void {
    this.unreadable.set(reason, (this.unreadable.get(reason) ?? 0) + 1);
  }

  /** A sentence when something could not be read, otherwise null. */
  complaint(): string | null {
    if (this.unreadable.size === 0) return null;
    const total = [...this.unreadable.values()].reduce((sum, count) => sum + count, 0);
    const reasons = [...this.unreadable].map(([reason, count]) => `${reason} ${count}`).join(', ');
    return `${total} message${total === 1 ? '' : 's'} could not be read and ${total === 1 ? 'was' : 'were'} passed over: ${reasons}`;
  }
}
