/**
 * Decodes messages of any schema version. Schemas that this build does not know are looked up in
 * `bailiff_schemas`. Messages that cannot be decoded are counted by reason and skipped, so one bad
 * message does not hide the others.
 */
import { type Bus, BusError, type StreamMessage, schemaLookup } from '@bailiff/bus';
import { plural } from '@bailiff/response';
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
  /** Undecodable messages, by reason. */
  readonly undecodable = new Map<string, number>();

  constructor(bus: Bus) {
    this.#registry = new SchemaRegistry(schemaLookup(bus));
  }

  /**
   * Passes the decoded value to `use`. Synchronous for known schemas, which is several times
   * faster.
   * @throws BusError if the schema lookup fails; what `use` throws
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
      if (error.code !== 'UNKNOWN_FINGERPRINT') return this.reject(error.code);
      return this.#lookUp(message, name, use);
    }
    if (decoded.name !== name) return this.reject('WRONG_SCHEMA');
    return use(decoded.value as Messages[N]);
  }

  async #lookUp<N extends MessageName>(
    message: StreamMessage,
    name: N,
    use: (value: Messages[N]) => void | Promise<void>,
  ): Promise<void> {
    let decoded: Awaited<ReturnType<typeof decodeWithLookup>>;
    try {
      decoded = await decodeWithLookup(
        message.data,
        this.#registry,
        name === 'ViolationFrame' ? message.subject : name,
      );
    } catch (error) {
      if (error instanceof BusError || !(error instanceof SchemaError)) throw error;
      return this.reject(error.code);
    }
    if (decoded.name !== name) return this.reject('WRONG_SCHEMA');
    await use(decoded.value as Messages[N]);
  }

  /** Counts a message that cannot be used. */
  reject(reason: string): void {
    this.undecodable.set(reason, (this.undecodable.get(reason) ?? 0) + 1);
  }

  /** How many messages could not be decoded, by reason; empty: none. */
  get undecodableText(): string {
    if (this.undecodable.size === 0) return '';
    const total = [...this.undecodable.values()].reduce((sum, count) => sum + count, 0);
    const reasons = [...this.undecodable].map(([reason, count]) => `${reason} ${count}`).join(', ');
    return `${plural(total, 'message')} could not be decoded: ${reasons}`;
  }

  reportUndecodable(out: { note(text: string): void }): void {
    const text = this.undecodableText;
    if (text !== '') out.note(text);
  }
}
