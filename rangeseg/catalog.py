"""The location of every shipped component by its config name; one line adds a component.

A component is imported when it is looked up. A class of your own needs no line: write ``module:Class`` in the YAML.
"""

from __future__ import annotations

from rangeseg.registry import Table

DATASETS = Table(
    {
        "semantic_kitti": "rangeseg.data.semantic_kitti:SemanticKitti",
        "scribble_kitti": "rangeseg.data.scribble_kitti:ScribbleKitti",
        "semantic_poss": "rangeseg.data.semantic_poss:SemanticPOSS",
        "pandaset": "rangeseg.data.pandaset:PandaSet",
        "rellis3d": "rangeseg.data.rellis3d:Rellis3D",
        "waymo": "rangeseg.data.waymo:Waymo",
        "synthetic": "rangeseg.data.synthetic:SyntheticStreets",
        "nuscenes": "rangeseg.data.nuscenes:NuScenes",
        "scan_folder": "rangeseg.data.scan_folder:ScanFolder",
        "camvid": "rangeseg.photos.camvid:CamVid",
        "pascal_voc": "rangeseg.photos.pascal_voc:PascalVOC",
        "pascal_context": "rangeseg.photos.pascal_context:PascalContext",
        "cityscapes": "rangeseg.photos.cityscapes:Cityscapes",
        "isic2017": "rangeseg.photos.isic2017:ISIC2017",
        "ade20k": "rangeseg.photos.ade20k:ADE20K",
        "photo_folder": "rangeseg.photos.folder:PhotoFolder",
    },
)

GEOMETRIES = Table(
    {
        "spherical": "rangeseg.projection.spherical:SphericalProjection",
        "ring": "rangeseg.projection.ring:RingProjection",
        "unfolding": "rangeseg.projection.unfolding:ScanUnfolding",
        "beam": "rangeseg.projection.beam:BeamProjection",
        "organised": "rangeseg.projection.organised:OrganisedProjection",
    },
)
"""The projections that a sensor file may name."""

PROJECTIONS = Table(
    {
        **GEOMETRIES.places,
        "fitted": "rangeseg.projection.fitted:FittedProjection",
        "sensor": "rangeseg.projection.sensor:sensor_projection",
    }
)

BACK_PROJECTIONS = Table(
    {
        "nearest": "rangeseg.evaluation.backprojection:NearestPixel",
        "knn": "rangeseg.evaluation.backprojection:KnnVote",
        "nla": "rangeseg.evaluation.backprojection:NearestLabel",
        "head": "rangeseg.evaluation.point_head:HeadLabels",
        "fill_holes": "rangeseg.evaluation.backprojection:FillHoles",
    },
)

NETWORKS = Table(
    {
        "fidnet": "rangeseg.networks.fidnet:FIDNet",
        "cenet": "rangeseg.networks.cenet:CENet",
        "salsanext": "rangeseg.networks.salsanext:SalsaNext",
        "rangenet": "rangeseg.networks.rangenet:RangeNet",
        "squeezeseg": "rangeseg.networks.squeezeseg:SqueezeSegV2",
        "rangevit": "rangeseg.networks.rangevit:RangeViT",
        "foldnet": "rangeseg.networks.foldnet:FoldNet",
        "deeplab_v2": "rangeseg.networks.deeplab:DeepLabV2",
        "deeplab_v3plus": "rangeseg.networks.deeplab:DeepLabV3Plus",
        "pspnet": "rangeseg.networks.pspnet:PSPNet",
        "unet": "rangeseg.networks.unet:UNet",
    },
)

PERTURBATIONS = Table(
    {
        "cutmix": "rangeseg.perturbations.boxes:CutMix",
        "cutout": "rangeseg.perturbations.boxes:CutOut",
        "cowmix": "rangeseg.perturbations.blobs:CowMix",
        "cowout": "rangeseg.perturbations.blobs:CowOut",
        "lasermix": "rangeseg.perturbations.strips:LaserMix",
        "polarmix": "rangeseg.perturbations.polarmix:PolarMix",
        "frustummix": "rangeseg.perturbations.strips:FrustumMix",
        "classmix": "rangeseg.perturbations.classmix:ClassMix",
        "ict": "rangeseg.perturbations.ict:ICT",
        "vat": "rangeseg.perturbations.vat:VAT",
        "geometric": "rangeseg.perturbations.geometric:Geometric",
        "affine": "rangeseg.perturbations.affine:Affine",
        "jitter": "rangeseg.perturbations.jitter:Jitter",
        "color": "rangeseg.perturbations.color:Color",
        "range_mix": "rangeseg.perturbations.range_former:RangeMix",
        "range_union": "rangeseg.perturbations.range_former:RangeUnion",
        "range_paste": "rangeseg.perturbations.range_former:RangePaste",
        "range_shift": "rangeseg.perturbations.range_former:RangeShift",
        "compose": "rangeseg.perturbations.combined:Compose",
        "one_of": "rangeseg.perturbations.combined:OneOf",
        "all_of": "rangeseg.perturbations.combined:AllOf",
        "sequential": "rangeseg.perturbations.combined:Sequential",
        "identity": "rangeseg.perturbations.bases:Identity",
    },
)

METHODS = Table(
    {
        "mean_teacher": "rangeseg.engine.methods:Method",
        "fixmatch": "rangeseg.engine.methods:FixMatch",
        "cps": "rangeseg.engine.methods:CPS",
        "cbst": "rangeseg.engine.methods:CBST",
    },
)

LOGGERS = Table(
    {
        "wandb": "rangeseg.engine.loggers:Wandb",
        "mlflow": "rangeseg.engine.loggers:Mlflow",
        "trackio": "rangeseg.engine.loggers:Trackio",
    }
)
