# The native addon, built by native/build.ts into build/Release/bailiff_bpf.node.
{
  'targets': [
    {
      'target_name': 'bailiff_bpf',
      'sources': [
        'native/binding/module.cc',
        'native/core/clsact.cc',
        'native/core/libbpf-lines.cc',
        'native/core/link.cc',
        'native/core/link-monitor.cc',
        'native/core/map.cc',
        'native/core/netlink.cc',
        'native/core/object.cc',
        'native/core/pin.cc',
        'native/core/poller.cc',
        'native/core/probe.cc',
        'native/core/program.cc',
        'native/core/ring.cc',
        'native/core/rtnl.cc',
        'native/core/system.cc',
      ],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': [
        'NAPI_VERSION=9',
        'NODE_ADDON_API_CPP_EXCEPTIONS',
        'NODE_ADDON_API_DISABLE_DEPRECATED',
        # Without it a worker that is terminated inside a call takes the whole process down.
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
      ],
      'cflags': ['<!@(pkg-config --cflags libbpf)', '-Wall', '-Wextra', '-Wunused-parameter'],
      'cflags_cc': ['-std=c++17', '-fexceptions', '-fvisibility=hidden'],
      'cflags_cc!': ['-fno-exceptions', '-std=gnu++17', '-std=gnu++20'],
      'cflags!': ['-fno-exceptions'],
      'libraries': ['<!@(pkg-config --libs libbpf)'],
    },
  ],
}
