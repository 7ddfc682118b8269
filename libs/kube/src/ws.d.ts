/** The part of `ws` that port-forward.ts and the API stand-in use. */
declare module 'ws' {
  import type { EventEmitter } from 'node:events';
  import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
  import type { Duplex } from 'node:stream';

  export class WebSocket extends EventEmitter {
    constructor(
      address: string,
      protocols: readonly string[],
      options: {
        agent: Agent;
        headers: Record<string, string>;
        perMessageDeflate: false;
        followRedirects: false;
      },
    );
    pause(): void;
    resume(): void;
    send(data: Uint8Array, done: (error?: Error) => void): void;
    close(): void;
    terminate(): void;
    on(event: 'message', listener: (data: Buffer) => void): this;
    on(event: 'unexpected-response', listener: (request: ClientRequest, response: IncomingMessage) => void): this;
    on(event: 'error', listener: (error: Error) => void): this;
    on(event: 'open' | 'close', listener: () => void): this;
  }

  export class WebSocketServer {
    constructor(options: {
      noServer: true;
      handleProtocols: (protocols: ReadonlySet<string>) => string | false;
      perMessageDeflate: false;
    });
    handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, done: (socket: WebSocket) => void): void;
    close(): void;
  }
}
