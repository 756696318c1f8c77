import { fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt'

/** One proto file. */
export interface ProtoFile {
  readonly name: string
  /** Encoded google.protobuf.FileDescriptorProto. */
  readonly bytes: Uint8Array
  readonly imports: readonly string[]
}

/** Finds files by what they hold. Names are full names without a leading dot. */
export interface DescriptorIndex {
  readonly services: readonly string[]
  file(name: string): ProtoFile | undefined
  fileOfSymbol(name: string): ProtoFile | undefined
  fileOfExtension(type: string, number: number): ProtoFile | undefined
  /** Numbers of the extensions of a message, in order; undefined for an unknown message. */
  extensionsOf(type: string): number[] | undefined
  /** A file and all that it imports, directly and indirectly, the file itself first. */
  withImports(file: ProtoFile): ProtoFile[]
}

/** Reads an encoded google.protobuf.FileDescriptorSet (what `protoc --include_imports` or `buf build` write). */
export function indexDescriptors(descriptorSet: Uint8Array): DescriptorIndex {
  const files = new Map<string, ProtoFile>()
  const symbols = new Map<string, ProtoFile>()
  const messages = new Set<string>()
  const extensions = new Map<string, Map<number, ProtoFile>>()
  const services: string[] = []

  for (const descriptor of fromBinary(FileDescriptorSetSchema, descriptorSet).file) {
    const file: ProtoFile = {
      name: descriptor.name,
      // Build tools add fields of their own to descriptors; they mean nothing to a client.
      bytes: toBinary(FileDescriptorProtoSchema, descriptor, { writeUnknownFields: false }),
      imports: descriptor.dependency,
    }
    files.set(file.name, file)
    indexFile(descriptor, {
      symbol: (name) => symbols.set(name, file),
      message: (name) => messages.add(name),
      service: (name) => services.push(name),
      extension: (type, number) => {
        const known = extensions.get(type) ?? new Map<number, ProtoFile>()
        extensions.set(type, known.set(number, file))
      },
    })
  }

  return {
    services,
    file: (name) => files.get(name),
    fileOfSymbol: (name) => symbols.get(name),
    fileOfExtension: (type, number) => extensions.get(type)?.get(number),
    extensionsOf: (type) =>
      messages.has(type) ? [...(extensions.get(type)?.keys() ?? [])].sort((a, b) => a - b) : undefined,
    withImports(file) {
      const found = new Set<ProtoFile>([file])
      // A set gives what is added to it while it is walked.
      for (const each of found)
        for (const name of each.imports) {
          const imported = files.get(name)
          if (imported) found.add(imported)
        }
      return [...found]
    },
  }
}

interface Visitor {
  symbol(name: string): void
  message(name: string): void
  service(name: string): void
  extension(type: string, number: number): void
}

function indexFile(file: FileDescriptorProto, visitor: Visitor): void {
  const scope = file.package === '' ? '' : `${file.package}.`
  for (const message of file.messageType) indexMessage(scope, message, visitor)
  for (const each of file.enumType) indexEnum(scope, each, visitor)
  for (const each of file.extension) indexExtension(scope, each, visitor)
  for (const service of file.service) {
    visitor.service(`${scope}${service.name}`)
    visitor.symbol(`${scope}${service.name}`)
    for (const method of service.method) visitor.symbol(`${scope}${service.name}.${method.name}`)
  }
}

function indexMessage(scope: string, message: DescriptorProto, visitor: Visitor): void {
  const name = `${scope}${message.name}`
  visitor.symbol(name)
  visitor.message(name)
  for (const field of [...message.field, ...message.oneofDecl]) visitor.symbol(`${name}.${field.name}`)
  for (const nested of message.nestedType) indexMessage(`${name}.`, nested, visitor)
  for (const each of message.enumType) indexEnum(`${name}.`, each, visitor)
  for (const each of message.extension) indexExtension(`${name}.`, each, visitor)
}

/** The values of an enum are siblings of the enum, not its children. */
function indexEnum(scope: string, each: EnumDescriptorProto, visitor: Visitor): void {
  visitor.symbol(`${scope}${each.name}`)
  for (const value of each.value) visitor.symbol(`${scope}${value.name}`)
}

function indexExtension(scope: string, field: FieldDescriptorProto, visitor: Visitor): void {
  visitor.symbol(`${scope}${field.name}`)
  visitor.extension(field.extendee.replace(/^\./, ''), field.number)
}
