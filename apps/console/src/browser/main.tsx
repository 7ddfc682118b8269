/** Entry of the page. */
import { render } from 'preact';
import { App } from './app.tsx';
import { openSession } from './session.ts';
import { followNow } from './stream.ts';

render(<App />, document.getElementById('app') as HTMLElement);
void openSession();
void followNow();
