/** The console: a page for one user on this machine. apps/cli starts it, with the user's own login. */
import type { ConsoleData } from './data.ts';
import { Live } from './live/live.ts';
import { pageFiles } from './server/page.ts';
import { startServer } from './server/server.ts';
import { Sessions } from './server/sessions.ts';

export type * from './data.ts';
export type * from './wire.ts';

export interface ConsoleOptions {
  data: ConsoleData;
  /** 0 = any free port. */
  port: number;
  nowMs: () => number;
}

export interface Console {
  /** `http://127.0.0.1:9470` */
  origin: string;
  /** A link that opens one session. */
  link(): string;
  close(): Promise<void>;
}

/** The caller closes it. @throws Error EADDRINUSE; if the page is not built */
export async function startConsole({ data, port, nowMs }: ConsoleOptions): Promise<Console> {
  const page = pageFiles();
  const sessions = new Sessions(nowMs);
  const live = new Live({ data, nowMs });
  try {
    const server = await startServer({ port, data, live, sessions, page });
    const origin = `http://${server.authority}`;
    return {
      origin,
      // In the fragment, which a browser sends to no server.
      link: () => `${origin}/#token=${sessions.issue()}`,
      close: async () => {
        await server.close();
        await live.close();
      },
    };
  } catch (error) {
    await live.close();
    throw error;
  }
}
