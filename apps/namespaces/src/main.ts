import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'namespaces', about: 'the namespaces service in a process of its own', parts: [part.namespaces] })
