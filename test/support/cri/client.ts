/** Calls of the CRI to a runtime's socket, as the kubelet makes them. */
import { type Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { loadServices } from './protocol.ts';

/** Longer than the runtime's own limits; a slow machine takes a minute for one call. */
const CALL_TIMEOUT_MS = 120_000;

type Method = (
  request: object,
  options: { deadline: number },
  done: (e: ServiceError | null, r: object) => void,
) => void;

export class CriClient implements Disposable {
  readonly #services: Readonly<Record<'runtime' | 'image', Client>>;

  constructor(socket: string) {
    const { RuntimeService, ImageService } = loadServices();
    const connect = (Service: typeof RuntimeService) => new Service(`unix:${socket}`, credentials.createInsecure());
    this.#services = { runtime: connect(RuntimeService), image: connect(ImageService) };
  }

  /** @throws Error with the method and the runtime's message */
  runtime<T extends object>(method: string, request: object = {}): Promise<T> {
    return this.#call('runtime', method, request);
  }

  image<T extends object>(method: string, request: object = {}): Promise<T> {
    return this.#call('image', method, request);
  }

  #call<T extends object>(service: 'runtime' | 'image', method: string, request: object): Promise<T> {
    const client = this.#services[service] as unknown as Record<string, Method>;
    return new Promise((resolve, reject) => {
      client[method]?.call(client, request, { deadline: Date.now() + CALL_TIMEOUT_MS }, (cause, response) => {
        if (cause === null) resolve(response as T);
        else reject(new Error(`${method}: ${cause.details}`, { cause }));
      });
    });
  }

  [Symbol.dispose](): void {
    for (const client of Object.values(this.#services)) client.close();
  }
}
