import { expect, it } from 'vitest'
import { byBytes } from './byte-order.ts'

const texts = [
  '',
  'a',
  'aa',
  'b',
  'é',
  'z\u{10000}',
  'z\uffff',
  '\ud7ff',
  '\ue000',
  '\u{1f600}',
  '\u{1f600}a',
  '\u{10ffff}',
]

it('orders as the bytes of UTF-8 do', () => {
  for (const a of texts)
    for (const b of texts)
      expect(Math.sign(byBytes(a, b)), `${a} ${b}`).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
})
