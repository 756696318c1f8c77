import { describe, expect, it } from 'vitest'
import { HeaderDecoder, headerBlock } from './hpack.ts'
import { huffmanDecoded } from './huffman.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('the examples of RFC 7541, appendix C', () => {
  const decoded = [
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
      ['cache-control', 'no-cache'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/index.html'],
      [':authority', 'www.example.com'],
      ['custom-key', 'custom-value'],
    ],
  ]

  it.each([
    [
      'plain',
      [
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '8286 84be 5808 6e6f 2d63 6163 6865',
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      ],
    ],
    [
      'packed',
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ],
    ],
  ])('requests, %s, with a table that grows', (_, blocks) => {
    const decoder = new HeaderDecoder()
    expect(blocks.map((block) => decoder.decode(hex(block)))).toEqual(decoded)
    // What only points into the tables is the same again.
    expect(decoder.decode(hex('8287 85c0 be'))).toEqual(decoded[2])
  })
})

it('forgets the oldest fields when the table is full, or made smaller', () => {
  const decoder = new HeaderDecoder()
  const field = (name: string, length: number) =>
    Buffer.concat([
      hex('40'),
      Buffer.from([name.length]),
      Buffer.from(name),
      hex('7f'),
      varint(length - 127),
      Buffer.alloc(length, 'v'),
    ])
  const varint = (value: number) => Buffer.from([(value & 0x7f) | 0x80, value >> 7])
  decoder.decode(field('a', 2_000))
  decoder.decode(field('b', 2_000))
  expect(decoder.decode(hex('bf'))?.[0]?.[0]).toBe('a')
  decoder.decode(field('c', 2_000))
  expect(decoder.decode(hex('bf'))?.[0]?.[0]).toBe('b')
  decoder.decode(hex('20'))
  expect(() => decoder.decode(hex('be'))).toThrow('no header field 62')
})

it('reads what it writes, long values too', () => {
  const fields = [
    [':status', '200'],
    ['grpc-message', 'x'.repeat(20_000)],
    ['grpc-status', '5'],
  ] as const
  expect(new HeaderDecoder().decode(headerBlock(fields))).toEqual(fields)
})

it.each([
  ['a field that is not there', 'ff00'],
  ['index 0', '80'],
  ['a name that is cut off', '4005 6162'],
  ['a number without an end', '7fff ffff ffff'],
  ['a table larger than we offered', '3fe2 1f'],
  ['padding that is not of ones', '4081 0000'],
  ['a change of the table within a block', '8220'],
])('refuses %s', (_, block) => {
  expect(() => new HeaderDecoder().decode(hex(block))).toThrow()
})

it('gives no fields of a block that names a large one again and again, and takes the next', () => {
  const decoder = new HeaderDecoder()
  decoder.decode(headerBlock([['a', 'v'.repeat(3_000)]]).fill(0x40, 0, 1))
  expect(decoder.decode(Buffer.concat([Buffer.alloc(100, 0xbe), hex('4001 6201 63')]))).toBeUndefined()
  expect(decoder.decode(hex('be'))).toEqual([['b', 'c']])
})

it('refuses a packed string with the end of a string in it', () => {
  expect(() => huffmanDecoded(hex('ffff ffff'))).toThrow()
})
