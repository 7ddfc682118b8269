/** The command that prints the same, to copy. */
import { useState } from 'preact/hooks';

export function CommandLine({ command }: { command: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(command);
    setCopied(true);
    setTimeout(() => setCopied(false), 1_500);
  };
  return (
    <span class="command">
      <code>{command}</code>
      <button class="copy" type="button" onClick={() => void copy()} aria-label={`Copy the command ${command}`}>
        {copied ? 'copied' : 'copy'}
      </button>
    </span>
  );
}

export function Section({
  title,
  command = '',
  id,
  children,
}: {
  title: string;
  command?: string;
  id: string;
  children: preact.ComponentChildren;
}) {
  return (
    <section aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {command !== '' && <CommandLine command={command} />}
      </header>
      {children}
    </section>
  );
}

export function Notes({ notes }: { notes: readonly string[] }) {
  return (
    <>
      {notes.map((note) => (
        <p key={note} class="note">
          {note}
        </p>
      ))}
    </>
  );
}

const RANGES = ['1h', '1d', '7d', '30d', 'all'];

/** The same page for other ranges. */
export function SinceLinks() {
  const linkTo = (since: string) => {
    const query = new URLSearchParams(location.search);
    for (const name of ['from', 'to']) query.delete(name);
    query.set('since', since);
    return `${location.pathname}?${query}`;
  };
  return (
    <nav class="since" aria-label="Range">
      {RANGES.map((since) => (
        <a key={since} href={linkTo(since)}>
          {since === 'all' ? 'all' : `last ${since}`}
        </a>
      ))}
    </nav>
  );
}
