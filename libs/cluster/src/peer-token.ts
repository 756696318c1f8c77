import { createHmac, timingSafeEqual } from 'node:crypto'

/** Metadata with which one node shows another that it belongs to the cluster. */
export const peerHeader = 'flotilla-peer'

/** Milliseconds that clocks of two nodes may differ. */
const slack = 120_000

const sign = (secret: Buffer, to: string, time: string) =>
  createHmac('sha256', secret).update(`${to}\n${time}`).digest('base64url')

/** A token that is good for calls to one node, at its advertised address, for two minutes. */
export function peerToken(secret: Buffer, to: string): string {
  const time = String(Date.now())
  return `${time}.${sign(secret, to, time)}`
}

/** Whether a token was made for this node, a moment ago, by somebody who knows the secret. */
export function isPeerToken(secret: Buffer, to: string, token: string): boolean {
  const [time = '', signature = ''] = token.split('.')
  if (!(Math.abs(Date.now() - Number(time)) < slack)) return false
  const wanted = Buffer.from(sign(secret, to, time))
  const given = Buffer.from(signature)
  return wanted.length === given.length && timingSafeEqual(wanted, given)
}
