/**
 * One unsigned number of a protobuf message, found by the field numbers that lead to it; 0 where it is not. For messages
 * with other fields whose 64 bits no JavaScript number can hold (a memory limit of "none" is nearly 2⁶³).
 */
export function fieldOf(message: Uint8Array, path: readonly number[]): number {
  const [wanted, ...deeper] = path
  for (let at = 0; at < message.length; ) {
    const [tag, afterTag] = varint(message, at)
    const [field, kind] = [Math.floor(tag / 8), tag % 8]
    at = afterTag
    if (kind === 0) {
      const [value, next] = varint(message, at)
      if (field === wanted && deeper.length === 0) return value
      at = next
    } else if (kind === 2) {
      const [length, begin] = varint(message, at)
      if (field === wanted && deeper.length > 0) return fieldOf(message.subarray(begin, begin + length), deeper)
      at = begin + length
    } else if (kind === 1) at += 8
    else if (kind === 5) at += 4
    else throw new Error(`a message with a field of kind ${kind}`)
  }
  return 0
}

function varint(bytes: Uint8Array, begin: number): [value: number, next: number] {
  let value = 0
  for (let at = begin, weight = 1; at < bytes.length; at++, weight *= 128) {
    const byte = bytes[at] as number
    value += (byte & 0x7f) * weight
    if (byte < 0x80) return [value, at + 1]
  }
  throw new Error('a message that ends within a number')
}
