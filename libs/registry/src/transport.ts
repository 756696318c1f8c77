import { once } from 'node:events'
import http, { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { createSecureContext, getCACertificates } from 'node:tls'
import { deadlineExceeded } from '@flotilla/rpc'
import { fetchBulk, type Security } from './bulk.ts'

/** How a server is trusted and how we prove ourselves; PEM texts. */
export interface TlsSettings {
  /** Authorities to trust besides the system's. */
  readonly ca: readonly string[]
  readonly pairs: ReadonlyArray<{ readonly cert: string; readonly key: string }>
  readonly skipVerify: boolean
}

/** How long we wait for a server, milliseconds. */
export interface Patience {
  /** For a connection, name look-up and TLS included. */
  readonly dial: number
  /** For the head of an answer, once the request is out. */
  readonly answer: number
  /** For the same after a body was sent: the registry may move it before it answers. */
  readonly commit: number
  /** For the next bytes of a body, in either direction. */
  readonly stall: number
}

export interface HttpRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: AsyncIterable<Uint8Array>
  /** Many bytes are expected: a connection of its own pays. For GET only. */
  readonly bulk?: boolean | undefined
  readonly tls?: TlsSettings | undefined
  readonly patience: Patience
  readonly signal?: AbortSignal | undefined
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly url: URL
  /** The body, to be read once, or not at all and then given to {@link discard}. */
  readonly body: AsyncIterable<Uint8Array>
  /** Gives the connection back without reading on, or closes it when much is left. */
  discard(): void
}

export interface Transport extends Disposable {
  /** One exchange, without redirects, retries or authorization. Rejects with the network's error. */
  send(request: HttpRequest): Promise<HttpAnswer>
}

/** A server or network that let us wait for too long. */
export function isTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === deadlineExceeded('').code
}

/**
 * HTTP/1.1 by Node's own client, and by {@link fetchBulk} for many bytes.
 *
 * @param proxyEnv HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case
 */
export function createTransport(proxyEnv: Readonly<Record<string, string | undefined>> = {}): Transport {
  const plain = new http.Agent({ keepAlive: true, proxyEnv })
  const secure = new Map<string, { readonly agent: https.Agent; readonly security: Security }>()
  const proxied = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'].some((name) => proxyEnv[name])

  function secured({ ca, pairs, skipVerify }: TlsSettings = { ca: [], pairs: [], skipVerify: false }) {
    const key = JSON.stringify([ca, pairs, skipVerify])
    let made = secure.get(key)
    if (made === undefined) {
      // Made once for all connections: reading a hundred authorities takes milliseconds.
      const secureContext = createSecureContext({
        ca: [...new Set([...getCACertificates('default'), ...getCACertificates('system'), ...ca])],
        cert: pairs.map((pair) => pair.cert),
        key: pairs.map((pair) => pair.key),
      })
      const security = { secureContext, rejectUnauthorized: !skipVerify }
      made = { security, agent: new https.Agent({ keepAlive: true, proxyEnv, ...security }) }
      secure.set(key, made)
    }
    return made
  }

  return {
    async send(request) {
      const { agent, security } = request.url.protocol === 'https:' ? secured(request.tls) : { agent: plain }
      return request.bulk && !proxied ? fetchBulk(request, security) : exchange(request, agent)
    },
    [Symbol.dispose]() {
      for (const agent of [plain, ...[...secure.values()].map((one) => one.agent)]) agent.destroy()
    },
  }
}

function exchange(request: HttpRequest, agent: http.Agent): Promise<HttpAnswer> {
  const { method, url, headers, patience, signal } = request
  if (signal?.aborted) return Promise.reject(signal.reason)
  const secure = url.protocol === 'https:'
  const outgoing = (secure ? https : http).request(url, { method, headers: { ...headers }, agent })
  const watch = watchFor(outgoing, url.host)
  const progress = progressOf(watch, patience)
  outgoing.once('socket', (socket) => {
    if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', progress.connected)
    else progress.connected()
  })
  const abort = () => outgoing.destroy(asError(signal?.reason))
  signal?.addEventListener('abort', abort)
  outgoing.once('close', () => {
    watch.stop()
    signal?.removeEventListener('abort', abort)
  })

  return new Promise((resolve, reject) => {
    outgoing.once('error', (error) => reject(watch.verdict ?? error))
    outgoing.once('response', (message) => {
      watch.stop()
      resolve(answerOf(message, outgoing, request, watch))
    })
    if (request.body === undefined) {
      outgoing.end()
      progress.waitFor('answer')
    } else {
      writeBody(outgoing, request.body, progress).catch((error: unknown) => {
        // An answer that came early (a refusal) counts; otherwise the source's error does.
        if (!outgoing.destroyed) outgoing.destroy(asError(error))
        reject(watch.verdict ?? error)
      })
    }
  })
}

interface Watch {
  /** The wait is for this now, so many milliseconds from here. */
  expect(what: string, milliseconds: number): void
  stop(): void
  /** Why the request was given up, once it was. */
  verdict: Error | undefined
}

function watchFor(outgoing: ClientRequest, host: string): Watch {
  let timer: NodeJS.Timeout | undefined
  const watch: Watch = {
    verdict: undefined,
    expect(what, milliseconds) {
      clearTimeout(timer)
      timer = setTimeout(() => {
        watch.verdict = deadlineExceeded(`waited ${milliseconds / 1000}s for ${what} from ${host}`)
        outgoing.destroy(watch.verdict)
      }, milliseconds)
    },
    stop: () => clearTimeout(timer),
  }
  return watch
}

/** What a request waits for once it has its connection; a wait for our own source is no fault of the server's. */
type Wait = 'answer' | 'commit' | 'stall' | 'source'

const waits = { answer: 'an answer', commit: 'an answer', stall: 'a read of what we send' } as const

function progressOf(watch: Watch, patience: Patience) {
  let connected = false
  let wait: Wait = 'source'
  const watchIt = () => {
    if (!connected) return
    if (wait === 'source') watch.stop()
    else watch.expect(waits[wait], patience[wait])
  }
  watch.expect('a connection', patience.dial)
  return {
    connected() {
      connected = true
      watchIt()
    },
    waitFor(next: Wait) {
      wait = next
      watchIt()
    },
  }
}

async function writeBody(
  outgoing: ClientRequest,
  body: AsyncIterable<Uint8Array>,
  progress: ReturnType<typeof progressOf>,
) {
  // An answer may come before the end, a refusal for one; then the rest is not wanted.
  const over = new AbortController()
  outgoing.once('close', () => over.abort())
  outgoing.once('response', () => over.abort())
  for await (const bytes of body) {
    if (over.signal.aborted) return
    if (outgoing.write(bytes)) continue
    progress.waitFor('stall')
    try {
      await once(outgoing, 'drain', { signal: over.signal })
    } catch (error) {
      if (over.signal.aborted) return
      throw error
    }
    progress.waitFor('source')
  }
  if (over.signal.aborted) return
  outgoing.end()
  progress.waitFor('commit')
}

function answerOf(message: IncomingMessage, outgoing: ClientRequest, request: HttpRequest, watch: Watch): HttpAnswer {
  // A reader gets the error; without one it must not end the process.
  message.on('error', () => {})
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    url: request.url,
    body: readBody(message, request, watch),
    discard() {
      const small = Number(message.headers['content-length'] ?? Number.NaN) <= 64 * 1024 || request.method === 'HEAD'
      if (!outgoing.writableFinished || !small) {
        outgoing.destroy()
        return
      }
      watch.expect('the rest of an answer', 5_000)
      message.resume()
    },
  }
}

async function* readBody(message: IncomingMessage, request: HttpRequest, watch: Watch): AsyncGenerator<Uint8Array> {
  const { host } = request.url
  const { stall } = request.patience
  let waiting = true
  let verdict: Error | undefined
  // One timer, moved on, since a blob has thousands of pieces.
  const timer = setTimeout(() => {
    if (!waiting) return
    verdict = deadlineExceeded(`waited ${stall / 1000}s for bytes from ${host}`)
    message.destroy(verdict)
  }, stall)
  try {
    for await (const bytes of message) {
      waiting = false
      yield bytes
      waiting = true
      timer.refresh()
    }
  } catch (error) {
    if (request.signal?.aborted) throw request.signal.reason
    throw verdict ?? watch.verdict ?? error
  } finally {
    clearTimeout(timer)
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason))
}
