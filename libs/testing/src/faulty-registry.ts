import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createUploads } from './faulty-uploads.ts'
import type { TestImage } from './image.ts'
import type { Blob } from './layer.ts'

/** What goes wrong with an answer. */
export type Fault =
  /** Promises the whole length, then closes after so many bytes. */
  | { readonly kind: 'short'; readonly bytes: number }
  /** Sends the right bytes and then others, with a length to match. */
  | { readonly kind: 'more'; readonly extra: Buffer }
  /** Sends these bytes instead. */
  | { readonly kind: 'other'; readonly bytes: Buffer; readonly mediaType?: string }
  /** Sends so many bytes and then nothing, and keeps the connection open. */
  | { readonly kind: 'stall'; readonly after: number }
  /** Sends so many bytes and then resets the connection. */
  | { readonly kind: 'reset'; readonly after: number }
  /** Answers a request for a range with the whole, as servers do that know no ranges. */
  | { readonly kind: 'whole' }
  /** Answers a request for a range with one that begins so many bytes further on. */
  | { readonly kind: 'shift'; readonly bytes: number }
  /** Sends the client elsewhere; a path and query of the request are kept for a URL that ends with `*`. */
  | { readonly kind: 'redirect'; readonly to: string }
  /** Resets the connection after so many bytes of what the client sends. */
  | { readonly kind: 'cut'; readonly after: number }
  /** Answers a status and nothing of use. */
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }

export interface FaultRule {
  /** Which request paths. */
  readonly path: RegExp
  readonly method?: string
  readonly fault: Fault
  /** How many requests it spoils; all unless given. */
  readonly times?: number
}

export interface SeenRequest {
  readonly method: string
  readonly path: string
  /** With its `?`; empty if there is none. */
  readonly query: string
  readonly headers: IncomingHttpHeaders
}

/** A registry that blobs can be pulled from and pushed to, in this process, whose answers can be spoiled one path at a time. */
export interface FaultyRegistry extends AsyncDisposable {
  readonly host: string
  readonly url: string
  /** Every request since the start, in order. */
  readonly requests: readonly SeenRequest[]
  /** Makes an image known under `REPOSITORY:TAG`; gives the whole reference. */
  add(name: string, image: TestImage): string
  /** Makes one blob known to be fetched from any repository. */
  addBlob(blob: Blob): void
  /** Names a blob by a tag, whatever it is. */
  tag(name: string, blob: Blob): string
  /** Adds a rule; the first that fits a request is used. Gives a function that takes it back. */
  fault(rule: FaultRule): () => void
}

export interface FaultyRegistryOptions {
  /** Every request needs this user and password. */
  readonly basic?: { readonly username: string; readonly password: string }
  /** Answers requests for a range with that range; otherwise Range is not looked at. */
  readonly ranges?: boolean
  /** The address to listen on; 127.0.0.1 unless given. */
  readonly address?: string
}

/** Starts one. */
export async function startFaultyRegistry(options: FaultyRegistryOptions = {}): Promise<FaultyRegistry> {
  const listenOn = options.address ?? '127.0.0.1'
  const blobs = new Map<string, Blob>()
  const tags = new Map<string, Blob>()
  const rules: Array<FaultRule & { left: number }> = []
  const requests: SeenRequest[] = []
  const uploads = createUploads((blob) => blobs.set(blob.digest, blob))
  const wanted =
    options.basic && `Basic ${Buffer.from(`${options.basic.username}:${options.basic.password}`).toString('base64')}`

  function find(path: string): Blob | undefined {
    const match = /^\/v2\/(.+)\/(?:manifests|blobs)\/([^/]+)$/.exec(path)
    const [, repository = '', reference = ''] = match ?? []
    return blobs.get(reference) ?? tags.get(`${repository}:${reference}`)
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const method = request.method ?? 'GET'
    requests.push({ method, path: url.pathname, query: url.search, headers: request.headers })
    const rule = rules.find((one) => one.left > 0 && one.path.test(url.pathname) && (one.method ?? method) === method)
    if (rule !== undefined) rule.left -= 1
    if (rule?.fault.kind === 'status') {
      response.writeHead(rule.fault.status, { 'content-type': 'application/json', ...rule.fault.headers })
      response.end(JSON.stringify({ errors: [{ code: 'TEST', message: 'spoiled on purpose' }] }))
      return
    }
    if (rule?.fault.kind === 'redirect') {
      const to = rule.fault.to.replace(/\*$/, request.url ?? '')
      response.writeHead(307, { location: to }).end()
      return
    }
    if (wanted !== undefined && request.headers.authorization !== wanted) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
      return
    }
    if (url.pathname === '/v2/') {
      response.writeHead(200, { 'docker-distribution-api-version': 'registry/2.0' }).end('{}')
      return
    }
    if (uploads.answer(request, url, response, rule?.fault.kind === 'cut' ? rule.fault.after : undefined)) return
    const blob = find(url.pathname)
    if (blob === undefined) response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[]}')
    else send(response, method, blob, rule?.fault, options.ranges ? request.headers.range : undefined)
  }).listen(0, listenOn)
  await once(server, 'listening')

  const host = `${listenOn}:${(server.address() as AddressInfo).port}`
  const registry: FaultyRegistry = {
    host,
    url: `http://${host}`,
    requests,
    add(name, image) {
      for (const blob of image.blobs) blobs.set(blob.digest, blob)
      return registry.tag(name, image.target)
    },
    addBlob: (blob) => void blobs.set(blob.digest, blob),
    tag(name, blob) {
      blobs.set(blob.digest, blob)
      tags.set(name, blob)
      return `${host}/${name}`
    },
    fault(rule) {
      const armed = { ...rule, left: rule.times ?? Number.POSITIVE_INFINITY }
      rules.push(armed)
      return () => {
        armed.left = 0
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return registry
}

function send(
  response: ServerResponse,
  method: string,
  blob: Blob,
  fault: Fault | undefined,
  range: string | undefined,
): void {
  const mediaType = fault?.kind === 'other' ? (fault.mediaType ?? blob.mediaType) : blob.mediaType
  let bytes = blob.bytes
  if (fault?.kind === 'other') bytes = fault.bytes
  if (fault?.kind === 'more') bytes = Buffer.concat([bytes, fault.extra])
  const headers: Record<string, string> = {
    'content-type': mediaType,
    // What the right bytes have: a client that trusts it without hashing is caught.
    'docker-content-digest': blob.digest,
  }
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
  const ranged = from !== undefined && fault?.kind !== 'whole'
  if (ranged) {
    const start = Number(from) + (fault?.kind === 'shift' ? fault.bytes : 0)
    const end = Math.min(to ? Number(to) + 1 : bytes.length, bytes.length)
    headers['content-range'] = `bytes ${start}-${end - 1}/${bytes.length}`
    bytes = bytes.subarray(start, end)
  }
  response.writeHead(ranged ? 206 : 200, { ...headers, 'content-length': String(bytes.length) })
  if (method === 'HEAD') response.end()
  else if (fault?.kind === 'short')
    response.write(bytes.subarray(0, fault.bytes), () => void response.socket?.destroySoon())
  else if (fault?.kind === 'reset')
    response.write(bytes.subarray(0, fault.after), () => void response.socket?.resetAndDestroy())
  else if (fault?.kind === 'stall') {
    response.flushHeaders()
    if (fault.after > 0) response.write(bytes.subarray(0, fault.after))
  } else response.end(bytes)
}
