import { isIP, connect as plainConnect, type Socket, type TcpNetConnectOpts } from 'node:net'
import { type SecureContext, connect as secureConnect } from 'node:tls'
import { deadlineExceeded } from '@flotilla/rpc'
import { headersOf } from './headers.ts'
import { framed, type Head, malformed, parseHead } from './http-message.ts'
import type { HttpAnswer, HttpRequest } from './transport.ts'

/** How a connection is secured. */
export interface Security {
  readonly secureContext: SecureContext
  readonly rejectUnauthorized: boolean
}

/** Bytes are received straight into buffers of this size. */
const slabSize = 1024 * 1024
/** So many bytes wait for their reader before we stop to receive. */
const mostWaiting = 2 * slabSize
/** The least room that is worth a read. */
const leastRoom = 64 * 1024
const mostHead = 64 * 1024

/**
 * A GET for many bytes, on a connection of its own. Node's client costs a third of a second of work for 100 MB, in
 * parsing and in streams; here the kernel writes into the buffers that the reader gets, for a third of that.
 */
export async function fetchBulk(request: HttpRequest, security: Security | undefined): Promise<HttpAnswer> {
  const { url, patience } = request
  const receiver = connectTo(request, security)
  try {
    const head = await receiver.head(patience.dial, patience.answer)
    return { ...head, url, body: framed(head, receiver.rest(patience.stall)), discard: () => receiver.close() }
  } catch (error) {
    receiver.close()
    throw error
  }
}

/** Opens a connection, sends the request, and receives into slabs. */
function connectTo(request: HttpRequest, security: Security | undefined) {
  const { url, signal } = request
  let slab = Buffer.allocUnsafeSlow(slabSize)
  /** Of the slab: what is received and not taken is between these; before it lie bytes with their readers. */
  let start = 0
  let end = 0
  /** What is received and not taken of the slabs before, in order. */
  const earlier: Buffer[] = []
  let waitingSize = 0
  let paused = false
  let failure: unknown
  let ended = false
  let wake: (() => void) | undefined

  function receive(count: number): boolean {
    end += count
    waitingSize += count
    wake?.()
    paused = waitingSize >= mostWaiting
    return !paused
  }
  /** Where the next bytes go; asked once for each time that bytes came. */
  function room(): Buffer {
    if (slabSize - end < leastRoom) {
      if (end > start) earlier.push(slab.subarray(start, end))
      slab = Buffer.allocUnsafeSlow(slabSize)
      start = 0
      end = 0
    }
    return slab.subarray(end)
  }

  const socket = open(url, security, { buffer: room, callback: receive })
  const fail = (error: unknown) => {
    failure ??= error
    wake?.()
  }
  const abort = () =>
    socket.destroy(signal?.reason instanceof Error ? signal.reason : new Error(String(signal?.reason)))
  socket.on('error', fail)
  socket.on('close', () => {
    ended = true
    signal?.removeEventListener('abort', abort)
    wake?.()
  })
  signal?.addEventListener('abort', abort)

  /** Waits until something has happened; the promise of a wait is one for all its turns. */
  const happening = () =>
    new Promise<void>((resolve) => {
      wake = () => {
        wake = undefined
        resolve()
      }
    })

  /** What waits for its reader, as one piece of memory has it; undefined when nothing does. */
  function take(): Buffer | undefined {
    let bytes = earlier.shift()
    if (bytes === undefined && end > start) {
      bytes = slab.subarray(start, end)
      start = end
    }
    waitingSize -= bytes?.length ?? 0
    if (paused && waitingSize < mostWaiting) {
      paused = false
      socket.resume()
    }
    return bytes
  }

  async function wait(milliseconds: number, what: string) {
    const timer = setTimeout(
      () => socket.destroy(deadlineExceeded(`waited ${milliseconds / 1000}s for ${what} from ${url.host}`)),
      milliseconds,
    )
    await happening()
    clearTimeout(timer)
    if (signal?.aborted) throw signal.reason
    if (failure !== undefined) throw failure
  }

  return {
    close: () => void socket.destroy(),

    async head(dial: number, answer: number): Promise<Head> {
      signal?.throwIfAborted()
      socket.once(security ? 'secureConnect' : 'connect', () => wake?.())
      await wait(dial, 'a connection')
      socket.write(headOf(request))
      for (let text = Buffer.alloc(0); ; ) {
        const end = text.indexOf('\r\n\r\n')
        if (end >= 0) {
          const head = parseHead(text.toString('latin1', 0, end))
          text = text.subarray(end + 4)
          // Others say that an answer is on its way.
          if (head.status < 200) continue
          if (text.length > 0) earlier.unshift(text)
          waitingSize += text.length
          return head
        }
        if (text.length > mostHead) throw malformed('no end of the head')
        const bytes = take()
        if (bytes !== undefined) text = Buffer.concat([text, bytes])
        else if (ended) throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
        else await wait(answer, 'an answer')
      }
    },

    /** All that comes after the head; whoever stops to read closes the connection. */
    async *rest(stall: number): AsyncGenerator<Buffer> {
      try {
        for (;;) {
          const bytes = take()
          if (bytes !== undefined) yield bytes
          else if (failure !== undefined) throw failure
          else if (ended) return
          else await wait(stall, 'bytes')
        }
      } finally {
        socket.destroy()
      }
    },
  }
}

function open(url: URL, security: Security | undefined, onread: NonNullable<TcpNetConnectOpts['onread']>): Socket {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = Number(url.port) || (security ? 443 : 80)
  if (security === undefined) return plainConnect({ host, port, onread })
  const servername = isIP(host) ? {} : { servername: host }
  // The types of tls.connect do not list it, its documentation does.
  const options = { host, port, ...servername, ...security, ALPNProtocols: ['http/1.1'], onread }
  return secureConnect(options)
}

function headOf({ method, url, headers }: HttpRequest): string {
  // Headers of ours are checked where they come from, those of tokens here.
  const lines = Object.entries(headersOf({ host: url.host, ...headers, connection: 'close' }))
  return `${method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}
