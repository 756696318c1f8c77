import { STATUS_CODES } from 'node:http'
import { dataLoss, notFound, type RpcError, resourceExhausted, unavailable, unknown } from '@flotilla/rpc'
import type { HttpAnswer } from './transport.ts'

/**
 * Reads a whole body.
 *
 * @throws DATA_LOSS when it has more than `most` bytes
 */
export async function readWhole(answer: HttpAnswer, most: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const bytes of answer.body) {
    size += bytes.length
    if (size > most) throw dataLoss(`${answer.url.host} sends more than ${most} bytes for ${answer.url.pathname}`)
    pieces.push(bytes)
  }
  return Buffer.concat(pieces)
}

/** What a registry says went wrong: the messages of its JSON body. */
function messagesOf(body: Buffer): string {
  let parsed: unknown
  try {
    parsed = JSON.parse(body.toString())
  } catch {
    return ''
  }
  const errors = typeof parsed === 'object' && parsed !== null && 'errors' in parsed ? parsed.errors : undefined
  if (!Array.isArray(errors)) return ''
  return errors
    .map((error: { code?: unknown; message?: unknown }) => [error?.code, error?.message].filter(Boolean).join(': '))
    .filter((text) => text !== '')
    .join('; ')
}

/** The error that an answer stands for; reads what the registry says of it. */
export async function statusError(method: string, answer: HttpAnswer): Promise<RpcError> {
  const { status, url } = answer
  // An explanation that does not come is no reason to hide the status.
  const said = messagesOf(await readWhole(answer, 64 * 1024).catch(() => Buffer.alloc(0)))
  // The query may hold a signature.
  const place = `${url.protocol}//${url.host}${url.pathname}`
  const line = `${status} ${STATUS_CODES[status] ?? ''}`.trim()
  const text = `unexpected status from ${method} request to ${place}: ${line}${said === '' ? '' : `: ${said}`}`
  if (status === 404) return notFound(said === '' ? `content at ${place}` : `content at ${place}: ${said}`)
  if (status === 401 || status === 403) return unknown(`${text}: authorization failed`)
  if (status === 429) return resourceExhausted(text)
  return status >= 500 ? unavailable(text) : unknown(text)
}
