import type { IncomingHttpHeaders } from 'node:http'
import { request as plain } from 'node:http'
import { request as secure } from 'node:https'

export interface Exchange {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

export interface ExchangeOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** PEM of the authority that signed the server's certificate. */
  readonly ca?: string | undefined
}

/** One HTTP or HTTPS exchange, body in memory; node's fetch cannot be given an authority of our own. */
export function exchange(url: string, options: ExchangeOptions = {}): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const start = url.startsWith('https:') ? secure : plain
    const body = options.body
    const headers = { ...options.headers, ...(body === undefined ? {} : { 'content-length': String(body.length) }) }
    const outgoing = start(
      url,
      { method: options.method ?? 'GET', headers, ca: options.ca, agent: false },
      (answer) => {
        const pieces: Buffer[] = []
        answer.on('data', (piece: Buffer) => pieces.push(piece))
        answer.on('error', reject)
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(pieces) }),
        )
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}
