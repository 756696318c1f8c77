/** The head of an answer in HTTP/1; names in lower case, what came more than once joined by commas. */
export interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
}

/** An answer that is none, with a code as Node's own parser gives it, so that it counts as a fault of the network. */
export function malformed(what: string): Error {
  return Object.assign(new Error(`Parse Error: ${what}`), { code: 'HPE_INVALID' })
}

/** Reads a head, without its last empty line. */
export function parseHead(text: string): Head {
  const [first = '', ...lines] = text.split('\r\n')
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1]
  if (status === undefined) throw malformed('no HTTP/1')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line)
    if (match === null) throw malformed('no header')
    const [, given = '', value = ''] = match
    const name = given.toLowerCase()
    const before = headers[name]
    if (before !== undefined && name === 'content-length') throw malformed('two lengths')
    headers[name] = before === undefined ? value : `${before}, ${value}`
  }
  return { status: Number(status), headers }
}

/** The body that a head announces, from the bytes of the connection; ends with it and leaves the rest unread. */
export function framed(head: Head, source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const coding = head.headers['transfer-encoding']
  if (coding?.toLowerCase() === 'chunked') return dechunked(source)
  if (coding !== undefined) throw malformed(`unknown transfer encoding ${coding}`)
  const text = head.headers['content-length']
  if (head.status === 204 || head.status === 304 || text === '0') return nothing()
  if (text === undefined) return source
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text))) throw malformed('no length')
  return exactly(Number(text), source)
}

async function* nothing(): AsyncGenerator<Buffer> {}

function cutOff(): Error {
  return Object.assign(new Error('unexpected EOF'), { code: 'ECONNRESET' })
}

async function* exactly(length: number, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let left = length
  for await (const bytes of source) {
    yield bytes.length > left ? bytes.subarray(0, left) : bytes
    left -= bytes.length
    if (left <= 0) return
  }
  throw cutOff()
}

async function* dechunked(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let line = ''
  /** Of the chunk: bytes that are still to come; below that, the line end after it. */
  let left = 0
  for await (let bytes of source) {
    while (bytes.length > 0) {
      if (left > 0) {
        const piece = bytes.subarray(0, left)
        left -= piece.length
        bytes = bytes.subarray(piece.length)
        yield piece
        continue
      }
      const end = bytes.indexOf(10)
      line += bytes.toString('latin1', 0, end < 0 ? bytes.length : end)
      if (line.length > 1024) throw malformed('no chunk')
      if (end < 0) break
      bytes = bytes.subarray(end + 1)
      const size = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?\r?$/.exec(line)?.[1]
      // The empty line is the end of the chunk before.
      if (size === undefined && line !== '\r' && line !== '') throw malformed('no chunk')
      line = ''
      if (size === undefined) continue
      left = Number.parseInt(size, 16)
      // Trailers say nothing that we ask for.
      if (left === 0) return
    }
  }
  throw cutOff()
}
