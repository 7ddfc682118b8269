/** Server-sent events of a response to fetch, which can send the key; an EventSource cannot. */

/** The data of the events in each piece that arrives, until the stream ends; an empty list: a comment alone. */
export async function* dataOf(response: Response): AsyncGenerator<string[]> {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    yield events.filter((event) => event.startsWith('data: ')).map((event) => event.slice('data: '.length));
  }
}
