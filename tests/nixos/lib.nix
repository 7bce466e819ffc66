# Stands in for nixpkgs' lib, as far as NixOS modules of a service need it: the same names, and the same meaning of options,
# types, priorities and conditions. For machines without nixpkgs; on a real NixOS the modules are evaluated with the real one.
let
  inherit (builtins) all any attrNames concatLists concatMap elem elemAt filter foldl' functionArgs head isAttrs isBool isFunction
    isInt isList isPath isString length listToAttrs mapAttrs match removeAttrs replaceStrings sort stringLength substring;

  has = kind: value: isAttrs value && value ? _type && value._type == kind;
  distinct = foldl' (seen: x: if elem x seen then seen else seen ++ [ x ]) [ ];
  showOption = builtins.concatStringsSep ".";
  # The attributes of that name, of those sets that have one.
  named = name: concatMap (set: if set ? ${name} then [ set.${name} ] else [ ]);
  namesOf = sets: distinct (concatMap attrNames sets);
  # A set of what f makes of names.
  setOf = names: f: listToAttrs (map (name: { inherit name; value = f name; }) names);

  # ---- definitions: mkIf, mkMerge, mkOverride and mkOrder around values ----

  # Conditions go down to the attributes, so that their names never depend on one.
  pushDown = value:
    if has "merge" value then concatMap pushDown value.contents
    else if has "if" value then map (mapAttrs (_: lib.mkIf value.condition)) (pushDown value.content)
    else if has "override" value then map (mapAttrs (_: lib.mkOverride value.priority)) (pushDown value.content)
    else [ value ];

  discharge = value:
    if has "merge" value then concatMap discharge value.contents
    else if has "if" value then
      if !isBool value.condition then throw "mkIf called with a non-Boolean condition"
      else if value.condition then discharge value.content else [ ]
    else [ value ];

  # The values of the strongest priority, in their order.
  winners = definitions:
    let
      values = concatMap discharge definitions;
      priority = value: if has "override" value then value.priority else 100;
      strongest = foldl' (least: value: if priority value < least then priority value else least) 9999 values;
      chosen = concatMap discharge (map (value: if has "override" value then value.content else value)
        (filter (value: priority value == strongest) values));
      order = value: if has "order" value then value.priority else 1000;
    in
    map (value: if has "order" value then value.content else value) (sort (a: b: order a < order b) chosen);

  # ---- types ----

  shown = value: builtins.toJSON (if isFunction value then "<function>" else if isAttrs value then attrNames value else value);
  checked = type: at: map (value:
    if type.check value then value
    else throw "A definition for option `${showOption at}' is not of type `${type.name}'. Value: ${shown value}");
  same = at: values:
    if all (value: value == head values) values then head values
    else throw "The option `${showOption at}' has conflicting definition values";
  type = name: check: merge: { _type = "option-type"; subOptions = at: { }; inherit name check merge; };
  simple = name: check: let this = type name check (at: values: same at (checked this at values)); in this;
  textual = value: isString value || (isAttrs value && value ? outPath);

  types = rec {
    bool = simple "boolean" isBool;
    int = simple "signed integer" isInt;
    str = simple "string" isString;
    unspecified = simple "unspecified" (_: true);
    path = simple "absolute path" (value: isPath value || (textual value && substring 0 1 (toString value) == "/"));
    package = simple "package" (value: isAttrs value && value ? outPath);
    anything = type "anything" (_: true) (at: values:
      if all isAttrs values then foldl' lib.recursiveUpdate { } values else same at values);
    enum = values: simple "one of ${builtins.toJSON values}" (value: elem value values);
    strMatching = pattern: simple "string matching the pattern ${pattern}" (value: isString value && match pattern value != null);
    ints = {
      between = least: most: simple "integer between ${toString least} and ${toString most} (both inclusive)"
        (value: isInt value && value >= least && value <= most);
      unsigned = simple "unsigned integer, meaning >=0" (value: isInt value && value >= 0);
    };
    port = ints.between 0 65535 // { name = "16 bit unsigned integer; between 0 and 65535 (both inclusive)"; };
    lines =
      let
        this = type "strings concatenated with \"\\n\"" isString
          (at: values: builtins.concatStringsSep "\n" (checked this at values));
      in
      this;
    nullOr = of: type "null or ${of.name}" (value: value == null || of.check value) (at: values:
      if all (value: value == null) values then null
      else if any (value: value == null) values then throw "The option `${showOption at}' is defined both null and not null"
      else of.merge at values) // { inherit (of) subOptions; };
    either = a: b:
      let this = type "${a.name} or ${b.name}" (value: a.check value || b.check value) (at: given:
        let values = checked this at given; in
        if all a.check values then a.merge at values else if all b.check values then b.merge at values else same at values);
      in this;
    oneOf = alternatives: foldl' either (head alternatives) (builtins.tail alternatives);
    listOf = of:
      let
        element = at: value: let chosen = winners [ value ]; in if chosen == [ ] then [ ] else [ (of.merge at chosen) ];
        this = type "list of ${of.name}" isList (at: values:
          concatLists (map (concatMap (element (at ++ [ "*" ]))) (checked this at values)));
      in
      this // { inherit (of) subOptions; };
    attrsOf = of:
      let
        this = type "attribute set of ${of.name}" isAttrs (at: values:
          let
            definitions = concatMap pushDown (checked this at values);
            defined = filter (name: winners (named name definitions) != [ ]) (namesOf definitions);
          in
          setOf defined (name: of.merge (at ++ [ name ]) (winners (named name definitions))));
      in
      this // { subOptions = at: of.subOptions (at ++ [ "<name>" ]); };
    submodule = module: type "submodule" (value: isAttrs value || isFunction value)
      (at: values: (evalModules { prefix = at; modules = [ module ] ++ map (config: { inherit config; }) values; }).config)
    // { subOptions = at: (evalModules { prefix = at; modules = [ module ]; }).options; };
  };

  # ---- modules ----

  evalModules = { modules, prefix ? [ ] }:
    let
      load = given: if isPath given || isString given then import given else given;
      # A module is called with what it names.
      call = module:
        if !isFunction module then module
        else module (mapAttrs (name: _: if name == "config" then config else if name == "options" then options
          else if name == "lib" then lib else arguments.${name}) (functionArgs module));
      # Without options and config, all of it is config.
      parts = module: {
        imports = module.imports or [ ];
        options = module.options or { };
        config = if module ? config || module ? options then module.config or { } else removeAttrs module [ "imports" "_module" ];
        args = module._module.args or { };
      };
      collect = concatMap (given: let module = parts (call (load given)); in collect module.imports ++ [ module ]);
      collected = collect modules;
      arguments = foldl' (all: module: all // module.args) { } collected;

      mergeOptions = at: trees:
        if !any (has "option") trees then setOf (namesOf trees) (name: mergeOptions (at ++ [ name ]) (named name trees))
        else if length trees == 1 then head trees
        else throw "The option `${showOption at}' is declared twice";
      options = mergeOptions [ ] (map (module: module.options) collected);

      valueOf = at: option: definitions:
        let values = winners definitions; in
        if values != [ ] then option.type.merge at values
        else if option ? default then option.type.merge at [ option.default ]
        else throw "The option `${showOption at}' was accessed but has no value defined. Try setting the option.";
      evaluate = at: tree: definitions:
        if has "option" tree then valueOf at tree definitions
        else
          let
            pushed = concatMap pushDown definitions;
            unknown = filter (name: !(tree ? ${name})) (namesOf pushed);
          in
          if unknown != [ ] then throw "The option `${showOption (at ++ [ (head unknown) ])}' does not exist."
          else mapAttrs (name: below: evaluate (at ++ [ name ]) below (named name pushed)) tree;
      config = evaluate prefix options (map (module: module.config) collected);
    in
    { inherit config options; };

  # ---- the rest ----

  lib = rec {
    inherit types evalModules showOption;
    inherit (builtins) all any attrNames concatLists concatMap concatStringsSep elem elemAt filter head length mapAttrs;
    mkOption = attributes: { _type = "option"; } // attributes;
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mkOrder = priority: content: { _type = "order"; inherit priority content; };
    mkBefore = mkOrder 500;
    mkAfter = mkOrder 1500;
    literalMD = literalExpression;
    literalExpression = text: { _type = "literalExpression"; inherit text; };

    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: values: if condition then values else { };
    optionalString = condition: text: if condition then text else "";
    unique = distinct;
    last = values: elemAt values (length values - 1);
    imap1 = f: values: builtins.genList (i: f (i + 1) (elemAt values i)) (length values);
    nameValuePair = name: value: { inherit name value; };
    mapAttrs' = f: set: listToAttrs (mapAttrsToList f set);
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    filterAttrs = keep: set: setOf (filter (name: keep name set.${name}) (attrNames set)) (name: set.${name});
    genAttrs = setOf;
    recursiveUpdate = a: b:
      if !isAttrs a || !isAttrs b then b
      else a // mapAttrs (name: value: if a ? ${name} then recursiveUpdate a.${name} value else value) b;

    concatMapStrings = f: values: builtins.concatStringsSep "" (map f values);
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasSuffix = suffix: text:
      let start = stringLength text - stringLength suffix; in start >= 0 && substring start (-1) text == suffix;
    removePrefix = prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;
    removeSuffix = suffix: text: if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
    splitString = separator: text: filter isString (builtins.split (replaceStrings [ "." ] [ "[.]" ] separator) text);
    toInt = text: builtins.fromJSON text;
    importJSON = file: builtins.fromJSON (builtins.readFile file);
    makeBinPath = packages: builtins.concatStringsSep ":" (map (package: "${package}/bin") packages);
    getVersion = package: package.version;
    versionAtLeast = a: b: builtins.compareVersions a b >= 0;
    licenses.mit.spdxId = "MIT";
    platforms.linux = [ "x86_64-linux" "aarch64-linux" ];
  };
in
lib
