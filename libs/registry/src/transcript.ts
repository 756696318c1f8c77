import { isManifestType } from '@flotilla/oci'
import type { HttpAnswer, HttpRequest, Transport } from './transport.ts'

/** Somebody who wants to read what we and the registries say. Proofs of who we are are not shown. */
export interface Transcript {
  /** Wants the heads of requests and answers, and the bodies that are text: manifests, and what servers refuse with. */
  readonly messages: boolean
  /** Wants a line for each exchange, with its duration. */
  readonly times: boolean
  write(text: string): void
}

const secret: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization', 'set-cookie'])

/**
 * A transport that is read along.
 *
 * @param bodies whether bodies may be shown: those of token servers are secrets
 */
export function transcribed(transport: Transport, transcript: Transcript, bodies: boolean): Transport {
  const { messages, times } = transcript
  return {
    async send(request) {
      const began = performance.now()
      const told = (end: string) => {
        const milliseconds = Math.round(performance.now() - began)
        if (times) transcript.write(`* ${request.method} ${request.url.href}: ${end} after ${milliseconds} ms\n`)
      }
      if (messages) transcript.write(requestHead(request))
      try {
        const answer = await transport.send(request)
        told(String(answer.status))
        if (!messages) return answer
        transcript.write(answerHead(answer))
        return bodies && isText(answer) ? { ...answer, body: shown(answer.body, transcript) } : answer
      } catch (error) {
        told(
          String(error instanceof Error ? error.message : error)
            .trim()
            .replaceAll('\n', ' '),
        )
        throw error
      }
    },
    [Symbol.dispose]: () => transport[Symbol.dispose](),
  }
}

function requestHead({ method, url, headers }: HttpRequest): string {
  return head(`${method} ${url.pathname}${url.search} HTTP/1.1`, { host: url.host, ...headers })
}

function answerHead({ status, headers }: HttpAnswer): string {
  return head(`HTTP/1.1 ${status}`, headers)
}

function head(first: string, headers: Readonly<Record<string, string | readonly string[] | undefined>>): string {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    [value ?? []].flat().map((one) => `${name}: ${secret.has(name.toLowerCase()) ? hidden(one) : one}`),
  )
  return [first, ...lines, '', ''].join('\n')
}

/** How something is proved, not with what. */
function hidden(value: string): string {
  const space = value.indexOf(' ')
  return space < 0 ? '***' : `${value.slice(0, space)} ***`
}

function isText({ status, headers }: HttpAnswer): boolean {
  return status >= 400 || isManifestType(headers['content-type'] ?? '')
}

async function* shown(body: AsyncIterable<Uint8Array>, { write }: Transcript): AsyncGenerator<Uint8Array> {
  const text = new TextDecoder()
  for await (const bytes of body) {
    write(text.decode(bytes, { stream: true }))
    yield bytes
  }
  write(`${text.decode()}\n`)
}
