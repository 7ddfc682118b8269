/** The parts of avsc's Tap that bounded-tap.ts uses. avsc ships no types for them. */
declare module 'avsc/lib/utils.js' {
  class Tap {
    constructor(buffer: Buffer, position: number);
    buf: Buffer;
    pos: number;
    isValid(): boolean;
    readLong(): number;
    readInt(): number;
    skipLong(): void;
    skipInt(): void;
    readBoolean(): boolean;
    skipBoolean(): void;
    readFloat(): number;
    skipFloat(): void;
    readDouble(): number;
    skipDouble(): void;
    readFixed(length: number): Buffer | undefined;
    skipFixed(length: number): void;
    readBytes(): Buffer | undefined;
    skipBytes(): void;
    readString(): string | undefined;
    skipString(): void;
  }
  const utils: { Tap: typeof Tap };
  export default utils;
}
